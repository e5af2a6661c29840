//! `HTTP_GET`.

use std::pin::pin;

use futures_util::poll;

use super::{super::http::Page, *};
use crate::config::{HttpCheck, HttpVersion, Url, UrlRegex};

pub(super) fn url(path: &str) -> Url {
    Url {
        path: path.to_owned(),
        digest: None,
        status_codes: vec![Url::STATUS_CODES],
        virtualhost: None,
        regex: None,
        tls_compliant: false,
    }
}

pub(super) fn page(address: SocketAddr, change: impl FnOnce(&mut HttpCheck)) -> Check {
    let mut check = HttpCheck {
        tls: false,
        connection: to(address),
        version: HttpVersion::V10,
        sni: false,
        sni_name: None,
        fast_recovery: false,
        urls: vec![url("/health")],
    };
    change(&mut check);
    Check::Http(Box::new(check))
}

fn regex(pattern: &str) -> UrlRegex {
    UrlRegex {
        pattern: pattern.to_owned(),
        no_match: false,
        options: Vec::new(),
        min_offset: None,
        max_offset: None,
        stack: None,
    }
}

fn answer(status: &str, text: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

#[tokio::test]
async fn http_looks_at_the_status() {
    for (status, codes, wanted) in [
        ("200 OK", vec![Url::STATUS_CODES], None),
        ("500 Internal Server Error", vec![200..=200], Some("status 500, 200 wanted")),
        ("404 Not Found", vec![Url::STATUS_CODES], Some("status 404, 200-299 wanted")),
        ("404 Not Found", vec![200..=200, 400..=404], None),
        ("302 Found", vec![200..=200, 400..=404], Some("status 302, 200, 400-404 wanted")),
    ] {
        let server = server(answer(status, "hello")).await;
        let outcome = run(page(server, |check| check.urls[0].status_codes = codes)).await;
        let wanted = wanted
            .map_or(Outcome::Well(0), |reason| failed(&format!("HTTP_GET /health: {reason}")));
        assert_eq!(outcome, wanted);
    }
}

#[tokio::test]
async fn http_looks_at_the_digest_of_what_was_sent() {
    // md5 of "hello"
    let hello = 0x5d41_402a_bc4b_2a76_b971_9d91_1017_c592_u128.to_be_bytes();
    let wanted = |check: &mut HttpCheck| check.urls[0].digest = Some(hello);
    // With a length, up to the end, and more than the length says.
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello, world",
    ] {
        assert_eq!(run(page(server(answer.to_vec()).await, wanted)).await, Outcome::Well(0));
    }
    let other = server(answer("200 OK", "hello!")).await;
    assert_eq!(
        run(page(other, wanted)).await,
        failed(
            "HTTP_GET /health: digest 5a8dd3ad0756a93ded72b823b19dd877, \
             5d41402abc4b2a76b9719d911017c592 wanted"
        )
    );
}

/// As in keepalived (`extract_content_length` in html.c takes such a length for none, or for a great one).
#[tokio::test]
async fn http_takes_a_page_to_its_end_where_its_length_is_garbage() {
    // md5 of "hello"
    let hello = 0x5d41_402a_bc4b_2a76_b971_9d91_1017_c592_u128.to_be_bytes();
    let wanted = |check: &mut HttpCheck| check.urls[0].digest = Some(hello);
    for length in ["-5", "five", "99", "99999999999999999999"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello");
        let outcome = run(page(server(answer.into_bytes()).await, wanted)).await;
        assert_eq!(outcome, Outcome::Well(0), "{length}");
    }
    // A chunk that is none: nobody looks, but for a digest.
    let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello";
    assert_eq!(run(page(server(chunk.to_vec()).await, |_| ())).await, Outcome::Well(0));
    assert_eq!(run(page(server(chunk.to_vec()).await, wanted)).await, Outcome::Well(0));
}

#[tokio::test]
async fn http_looks_for_a_regex() {
    let server = server(answer("200 OK", "all Well\nand good")).await;
    let check = |pattern: &str, options: &[&'static str], no_match, from, to| {
        page(server, |check| {
            check.urls[0].regex = Some(UrlRegex {
                no_match,
                options: options.to_vec(),
                min_offset: from,
                max_offset: to,
                ..regex(pattern)
            });
        })
    };
    let missing = failed("HTTP_GET /health: the page does not match the regex");
    let found = failed("HTTP_GET /health: the page matches the regex");
    for (check, wanted) in [
        (check("W.ll", &[], false, None, None), Outcome::Well(0)),
        (check("w.ll", &[], false, None, None), missing.clone()),
        (check("w.ll", &["caseless"], false, None, None), Outcome::Well(0)),
        (check("^and", &[], false, None, None), missing.clone()),
        (check("^and", &["multiline"], false, None, None), Outcome::Well(0)),
        (check("(?<=all )Well$", &["multiline"], false, Some(4), Some(4)), Outcome::Well(0)),
        (check("Well", &[], false, Some(5), None), missing.clone()),
        (check("Well", &[], false, None, Some(3)), missing),
        (check("bad", &[], true, None, None), Outcome::Well(0)),
        (check("good", &["ungreedy", "no_auto_capture"], true, None, None), found),
    ] {
        assert_eq!(run(check.clone()).await, wanted, "{check:?}");
    }
    let Outcome::Unable(reason) = run(check("(", &[], false, None, None)).await else {
        panic!("half a regex was used")
    };
    assert!(reason.starts_with("HTTP_GET /health: the regex cannot be used: "), "{reason}");
}

#[tokio::test]
async fn http_asks_as_keepalived_does() {
    for (version, virtualhost, start) in [
        (
            HttpVersion::V10,
            None,
            "GET /a?b HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: HERE\r\n\r\n",
        ),
        (
            HttpVersion::V10Close,
            Some("www.example.org"),
            "GET /a?b HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: www.example.org\r\n\r\n",
        ),
        (
            HttpVersion::V11,
            None,
            "GET /a?b HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: HERE\r\n\r\n",
        ),
    ] {
        let (listener, address) = silent().await;
        let check = page(address, |check| {
            check.version = version;
            check.urls = vec![Url { virtualhost: virtualhost.map(str::to_owned), ..url("/a?b") }];
        });
        let asked = tokio::spawn(run(check));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        assert_eq!(request, start.replace("HERE", &address.to_string()));
        drop(stream);
        drop(asked.await);
    }
}

#[tokio::test]
async fn http_fails_for_whatever_reason() {
    assert_eq!(
        run(page(nobody().await, |_| ())).await,
        failed("HTTP_GET /health: connection refused")
    );
    let (_listener, address) = silent().await;
    assert_eq!(
        run(page(address, |_| ())).await,
        failed("HTTP_GET /health: no answer within 0.3 s")
    );
    for (answer, wanted) in [
        (&b""[..], "no answer: the server closed the connection"),
        (b"HTTP/1.1 200", "half an answer: the server closed the connection"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "not HTTP: the answer starts with \"SSH-2.0-OpenSSH_9.9\""),
    ] {
        let outcome = run(page(server(answer.to_vec()).await, |_| ())).await;
        assert_eq!(outcome, failed(&format!("HTTP_GET /health: {wanted}")));
    }
}

/// A check that is due every `LIMIT` twice.
fn hasty(check: Check) -> Probe {
    let schedule = crate::config::Schedule { delay_loop: 2 * LIMIT, ..schedule() };
    let checker = Checker { check, schedule, line: Line(1) };
    Probe::new(Arc::new(checker), Arc::default(), Arc::new(Tls::new(None)))
}

/// A server whose answer never ends: the same bytes again and again, with a pause in between.
async fn endless(status: &'static str, more: Vec<u8>, pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes()).await.unwrap();
        while stream.write_all(&more).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    address
}

#[tokio::test]
async fn http_does_not_wait_for_ever_for_the_rest() {
    let probe = hasty(page(endless("200 OK", b"more".to_vec(), LIMIT / 3).await, |_| ()));
    assert_eq!(probe.run(0).await, failed("HTTP_GET /health: no complete answer within 0.6 s"));
    // What comes makes a wrong status no better.
    let probe = hasty(page(endless("404 None", b"more".to_vec(), LIMIT / 3).await, |_| ()));
    assert_eq!(probe.run(0).await, failed("HTTP_GET /health: status 404, 200-299 wanted"));
}

#[tokio::test]
async fn http_leaves_others_their_turn() {
    let Check::Http(http) = page(nobody().await, |_| ()) else { panic!("no page") };
    let tls = Tls::new(None);
    let page = Page { http: &http, url: &http.urls[0], limit: LIMIT, tls: &tls };
    // There is always something to read.
    let mut stream = b"HTTP/1.0 200 OK\r\n\r\n".chain(tokio::io::repeat(b'a').take(1 << 20));
    let mut read = pin!(page.read(&mut stream, false));
    let mut turns = 1;
    while poll!(read.as_mut()).is_pending() {
        turns += 1;
    }
    assert!(turns > 8, "{turns}");
}

#[tokio::test]
async fn http_counts_the_search_as_part_of_the_check() {
    let text = format!("{}: no", "a".repeat(200 << 10));
    let check = page(server(answer("200 OK", &text)).await, |check| {
        check.urls[0].regex = Some(regex("[a-z]+-?[a-z]*: (ok|up)"));
    });
    let probe = hasty(check);
    // The second time the first search still goes on.
    for _ in 0..2 {
        let wanted = failed("HTTP_GET /health: no result of the regex within 0.6 s");
        assert_eq!(probe.run(0).await, wanted);
    }
}

#[tokio::test]
async fn http_searches_the_start_of_a_page() {
    for (before, wanted) in [
        ((256 << 10) - 2, Outcome::Well(0)),
        ((256 << 10) - 1, failed("HTTP_GET /health: the page does not match the regex")),
    ] {
        let text = format!("{}ok", "-".repeat(before));
        let check = page(server(answer("200 OK", &text)).await, |check| {
            check.urls[0].regex = Some(regex("ok"));
        });
        assert_eq!(run(check).await, wanted);
    }
}
