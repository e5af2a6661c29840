//! TLS for `SSL_GET`. keepalived loads the certificates of `ca` but never asks OpenSSL to verify by them (`check_ssl.c`), so
//! that any certificate is well. Here it is too, unless `ca` is named: that can mean but one thing.

use std::{net::IpAddr, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error,
        RootCertStore, SignatureScheme,
        client::{
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_cert_signed_by_trust_anchor, verify_server_name,
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{
            CertificateDer, PrivateKeyDer, ServerName, UnixTime,
            pem::{Error as PemError, PemObject},
        },
        server::ParsedCertificate,
    },
};

use crate::config::SslFiles;

/// What all `SSL_GET` have in common.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files of the `SSL` block.
    pub(crate) fn new(files: Option<&SslFiles>) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let roots = files.and_then(|files| files.ca.as_deref()).map(trusted).transpose()?;
        let verifier = Verifier { roots, provider: Arc::clone(&provider) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be used: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let own = files.and_then(|files| files.certificate.as_deref().zip(files.key.as_deref()));
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                builder.with_client_auth_cert(certificates(chain)?, private_key(key)?).map_err(
                    |error| format!("{} does not fit {}: {error}", key.display(), chain.display()),
                )?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands, and names the host if there is a name.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        address: IpAddr,
        name: Option<&str>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        // The name of a page may have a port.
        let host = name.map(|name| name.rsplit_once(':').map_or(name, |(host, _)| host).to_owned());
        // An address is never named in a handshake.
        let name = host
            .and_then(|host| ServerName::try_from(host).ok())
            .unwrap_or(ServerName::IpAddress(address.into()));
        self.0.connect(name, stream).await
    }
}

/// Like `cannot read /etc/ca.pem: no such file`.
fn read<T>(path: &Path, result: Result<T, PemError>) -> Result<T, String> {
    result.map_err(|error| match error {
        PemError::Io(error) => format!("cannot read {}: {}", path.display(), super::words(&error)),
        PemError::NoItemsFound => format!("{} has nothing that can be used", path.display()),
        error => format!("{} is not PEM: {error}", path.display()),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all: Vec<CertificateDer<'static>> = read(path, all)?;
    if all.is_empty() { Err(format!("{} has no certificate", path.display())) } else { Ok(all) }
}

fn trusted(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 || ignored > 0 {
        return Err(format!("{} has certificates that cannot be used", path.display()));
    }
    Ok(roots)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let key = PrivateKeyDer::from_pem_file(path);
    if matches!(key, Err(PemError::NoItemsFound)) {
        return Err(format!(
            "{} has no private key, or one with a password, which cannot be used: write it without one \
             (openssl pkey -in OLD -out NEW), readable by root only",
            path.display()
        ));
    }
    read(path, key)
}

/// Trusts everybody, or those that the roots vouch for; a name counts only if one was asked for.
#[derive(Debug)]
struct Verifier {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
            if matches!(name, ServerName::DnsName(_)) {
                verify_server_name(&certificate, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a handshake failed, in words.
pub(super) fn reason(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the certificate is of an unknown issuer".to_owned()
        }
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the certificate has expired".to_owned(),
        Some(error @ Error::InvalidCertificate(CertificateError::BadSignature)) => {
            format!("{error} (a wrong one, or by an RSA key of less than 2048 bits)")
        }
        Some(error @ Error::AlertReceived(AlertDescription::HandshakeFailure)) => format!(
            "{error} (the server has no cipher suite with ECDHE and AEAD, or wants a certificate)"
        ),
        Some(error @ Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            format!("{error} (the server has neither TLS 1.2 nor 1.3)")
        }
        Some(error) => error.to_string(),
        None => super::words(error),
    }
}
