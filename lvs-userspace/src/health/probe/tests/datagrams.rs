//! `UDP_CHECK`, `DNS_CHECK`, `PING_CHECK`.

use super::*;
use crate::config::{DnsCheck, DnsType, PatternByte, UdpCheck, UdpReply};

fn udp(address: SocketAddr, reply: Option<UdpReply>) -> Check {
    Check::Udp(UdpCheck { connection: to(address), payload: b"hello".to_vec(), reply })
}

fn reply(pattern: &[(u8, u8)]) -> UdpReply {
    let pattern = pattern.iter().map(|(value, mask)| PatternByte { value: *value, mask: *mask });
    UdpReply { pattern: pattern.collect(), min_length: 0, max_length: 255 }
}

#[tokio::test]
async fn udp_is_well_unless_somebody_complains() {
    let silent = responder(|_| Vec::new()).await;
    assert_eq!(run(udp(silent, None)).await, Outcome::Well(0));
    assert_eq!(run(udp(nobody().await, None)).await, failed("UDP_CHECK: connection refused"));
    assert_eq!(
        run(udp(silent, Some(reply(&[])))).await,
        failed("UDP_CHECK: no answer within 0.3 s")
    );
}

#[tokio::test]
async fn udp_compares_an_answer_by_its_pattern() {
    let echo = responder(|question| vec![question.to_vec()]).await;
    // "h", any high nibble with 5, nothing about the rest.
    let fits = reply(&[(b'h', 0xff), (0x05, 0x0f)]);
    assert_eq!(run(udp(echo, Some(fits.clone()))).await, Outcome::Well(0));
    let other = reply(&[(b'h', 0xff), (0x06, 0x0f)]);
    assert_eq!(
        run(udp(echo, Some(other))).await,
        failed("UDP_CHECK: byte 1 of the answer is 65, 06 wanted")
    );
    let short = UdpReply { max_length: 4, ..fits.clone() };
    assert_eq!(run(udp(echo, Some(short))).await, failed("UDP_CHECK: more than 4 bytes answered"));
    let long = UdpReply { min_length: 6, ..fits };
    assert_eq!(run(udp(echo, Some(long))).await, failed("UDP_CHECK: 5 bytes answered, 6 wanted"));
    // Without a pattern the lengths do not count.
    let any = UdpReply { pattern: Vec::new(), min_length: 6, max_length: 1 };
    assert_eq!(run(udp(echo, Some(any))).await, Outcome::Well(0));
}

#[tokio::test]
async fn udp_sends_something_without_a_payload() {
    let counting = responder(|question| vec![vec![question.len() as u8]]).await;
    let check = UdpCheck {
        connection: to(counting),
        payload: Vec::new(),
        reply: Some(reply(&[(32, 0xff)])),
    };
    assert_eq!(run(Check::Udp(check)).await, Outcome::Well(0));
}

fn dns(address: SocketAddr, name: &str) -> Check {
    let name = name.to_owned();
    Check::Dns(DnsCheck { connection: to(address), record: DnsType::Aaaa, name })
}

/// Answers as a name server would: the question with other flags.
fn answered(question: &[u8], flags: [u8; 2]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2..4].copy_from_slice(&flags);
    answer
}

#[tokio::test]
async fn dns_asks_the_question_that_it_was_told() {
    let server = responder(|question| {
        let wanted = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x1c\x00\x01";
        vec![answered(question, [0x81, if &question[2..] == wanted { 0x80 } else { 0x81 }])]
    })
    .await;
    assert_eq!(run(dns(server, "www.example.org")).await, Outcome::Well(0));
    assert_eq!(run(dns(server, "www.example.org.")).await, Outcome::Well(0));
    assert_eq!(run(dns(server, ".")).await, failed("DNS_CHECK: response code 1 (format error)"));
}

#[tokio::test]
async fn dns_waits_for_its_own_answer() {
    let server = responder(|question| {
        let mut stranger = answered(question, [0x81, 0x82]);
        stranger[0] ^= 1;
        // Somebody else's answer, half an answer, a question, and then the answer.
        vec![stranger, question[..5].to_vec(), question.to_vec(), answered(question, [0x81, 0x80])]
    })
    .await;
    assert_eq!(run(dns(server, "example.org")).await, Outcome::Well(0));
}

#[tokio::test]
async fn dns_fails_without_an_answer_or_with_an_error() {
    for (code, name) in [(2, "server failure"), (3, "name error"), (5, "refused")] {
        let server = responder(move |question| vec![answered(question, [0x81, code])]).await;
        let wanted = format!("DNS_CHECK: response code {code} ({name})");
        assert_eq!(run(dns(server, "example.org")).await, failed(&wanted));
    }
    let silent = responder(|_| Vec::new()).await;
    assert_eq!(run(dns(silent, ".")).await, failed("DNS_CHECK: no answer within 0.3 s"));
    assert_eq!(run(dns(nobody().await, ".")).await, failed("DNS_CHECK: connection refused"));
    let long = format!("{}.org", "x".repeat(64));
    assert_eq!(
        run(dns(silent, &long)).await,
        Outcome::Unable(format!(
            "DNS_CHECK: the name {long} has more than 63 bytes between two dots"
        ))
    );
}

#[tokio::test]
async fn ping_is_answered_by_this_host() {
    let check = Check::Ping(connection(Ipv4Addr::LOCALHOST, 80));
    match run(check).await {
        Outcome::Unable(reason) if reason.contains("permi") => println!("SKIP: {reason}"),
        outcome => assert_eq!(outcome, Outcome::Well(0)),
    }
    let v6 = Connection {
        address: std::net::Ipv6Addr::LOCALHOST.into(),
        ..connection(Ipv4Addr::LOCALHOST, 0)
    };
    match run(Check::Ping(v6)).await {
        Outcome::Unable(reason) => println!("SKIP: {reason}"),
        outcome => assert_eq!(outcome, Outcome::Well(0)),
    }
}
