//! `SSL_GET`, and the `SSL` block.

use std::{path::Path, sync::Mutex};

use rcgen::{CertificateParams, CertifiedIssuer, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        AlertDescription, CertificateError, Error, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

use super::{pages::page, *};
use crate::config::SslFiles;

/// An authority, and what it has signed.
struct World {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl World {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", fastrand::u64(..));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// A certificate for www.example.org and its key, in PEM.
    fn sign(&self, expired: bool) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["www.example.org".to_owned()]).unwrap();
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'static, KeyPair> = &self.authority;
        (params.signed_by(&key, issuer).unwrap(), key)
    }

    fn files(&self, change: impl FnOnce(&mut SslFiles, &Path)) -> SslFiles {
        let mut files = SslFiles::default();
        change(&mut files, self.folder.path());
        files
    }

    /// A server that says `hello` to who is welcome, and the names that it was called by. It ends without a goodbye.
    async fn server(
        &self,
        expired: bool,
        known_only: bool,
    ) -> (SocketAddr, Arc<Mutex<Vec<Option<String>>>>) {
        let (certificate, key) = self.sign(expired);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if known_only {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let names = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&names);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                heard.lock().unwrap().push(name);
                let mut request = [0; 4096];
                let _heard = stream.read(&mut request).await;
                let _said = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").await;
                let _gone = stream.flush().await;
            }
        });
        (address, names)
    }
}

async fn ask(address: SocketAddr, files: Option<&SslFiles>, sni: Option<&str>) -> Outcome {
    let check = page(address, |check| {
        check.tls = true;
        check.sni = sni.is_some();
        check.urls[0].virtualhost = sni.map(str::to_owned);
        check.urls[0].digest = Some(0x5d41_402a_bc4b_2a76_b971_9d91_1017_c592_u128.to_be_bytes());
        check.urls[0].tls_compliant = sni.is_some();
    });
    run_with(check, Global::default(), Tls::new(files)).await
}

#[tokio::test]
async fn any_certificate_is_well_as_with_keepalived() {
    let world = World::new();
    let (address, names) = world.server(true, false).await;
    assert_eq!(ask(address, None, None).await, Outcome::Well(0));
    assert_eq!(ask(address, None, Some("other.example:8443")).await, Outcome::Well(0));
    assert_eq!(*names.lock().unwrap(), [None, Some("other.example".to_owned())]);
}

#[tokio::test]
async fn with_an_authority_certificates_are_verified() {
    let world = World::new();
    let trusted = world.files(|files, folder| files.ca = Some(folder.join("ca.pem")));
    let (address, _) = world.server(false, false).await;
    assert_eq!(ask(address, Some(&trusted), None).await, Outcome::Well(0));
    assert_eq!(ask(address, Some(&trusted), Some("www.example.org")).await, Outcome::Well(0));
    let Outcome::Failed(reason) = ask(address, Some(&trusted), Some("other.example")).await else {
        panic!("the name does not count")
    };
    assert!(reason.contains("not valid for name"), "{reason}");

    let (address, _) = world.server(true, false).await;
    assert_eq!(
        ask(address, Some(&trusted), None).await,
        failed("SSL_GET /health: TLS: the certificate has expired")
    );
    let stranger = World::new();
    let (address, _) = stranger.server(false, false).await;
    assert_eq!(
        ask(address, Some(&trusted), None).await,
        failed("SSL_GET /health: TLS: the certificate is of an unknown issuer")
    );
}

#[tokio::test]
async fn the_own_certificate_is_shown() {
    let world = World::new();
    let (certificate, key) = world.sign(false);
    let folder = world.folder.path();
    std::fs::write(folder.join("own.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("own.key"), key.serialize_pem()).unwrap();
    let known = world.files(|files, folder| {
        files.certificate = Some(folder.join("own.pem"));
        files.key = Some(folder.join("own.key"));
    });
    let (address, _) = world.server(false, true).await;
    assert_eq!(ask(address, Some(&known), None).await, Outcome::Well(0));
    let Outcome::Failed(reason) = ask(address, None, None).await else {
        panic!("anybody is welcome")
    };
    assert!(reason.contains("ertificate"), "{reason}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_no_failure_of_the_server() {
    let world = World::new();
    let (address, _) = world.server(false, false).await;
    let absent = world.files(|files, folder| files.ca = Some(folder.join("absent.pem")));
    let Outcome::Unable(reason) = ask(address, Some(&absent), None).await else {
        panic!("a file that is not there was used")
    };
    assert!(reason.ends_with("absent.pem: no such file or directory"), "{reason}");
}

#[tokio::test]
async fn who_speaks_no_tls_fails() {
    let plain = server(b"HTTP/1.0 400 Bad Request\r\n\r\n".to_vec()).await;
    let Outcome::Failed(reason) = ask(plain, None, None).await else { panic!("that was no TLS") };
    assert!(reason.starts_with("SSL_GET /health: TLS: "), "{reason}");
    let (_listener, address) = silent().await;
    assert_eq!(
        ask(address, None, None).await,
        failed("SSL_GET /health: no TLS handshake within 0.3 s")
    );
}

#[test]
fn what_the_server_lacks_is_said() {
    for (error, wanted) in [
        (
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            "received fatal alert: HandshakeFailure (the server has no cipher suite with ECDHE and AEAD, or wants a \
             certificate)",
        ),
        (
            Error::AlertReceived(AlertDescription::ProtocolVersion),
            "received fatal alert: ProtocolVersion (the server has neither TLS 1.2 nor 1.3)",
        ),
        (
            CertificateError::BadSignature.into(),
            "invalid peer certificate: BadSignature (a wrong one, or by an RSA key of less than 2048 bits)",
        ),
    ] {
        assert_eq!(super::super::tls::reason(&std::io::Error::other(error)), wanted);
    }
}
