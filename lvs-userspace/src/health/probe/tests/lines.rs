//! `TCP_CHECK` and `SMTP_CHECK`, and the options of connections.

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;
use crate::config::SmtpCheck;

#[tokio::test]
async fn tcp_is_well_if_a_connection_can_be_opened() {
    let (_listener, address) = silent().await;
    assert_eq!(run(Check::Tcp(to(address))).await, Outcome::Well(0));
    assert_eq!(run(Check::Tcp(to(nobody().await))).await, failed("TCP_CHECK: connection refused"));
}

#[tokio::test]
async fn tcp_gives_up_in_time() {
    // A queue that is full takes no further connection, and says nothing: as a filter would.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    loop {
        let opened = tokio::time::timeout(LIMIT, tokio::net::TcpStream::connect(address)).await;
        let Ok(stream) = opened else { break };
        held.push(stream.unwrap());
        assert!(held.len() < 64, "the queue has no end");
    }
    assert_eq!(run(Check::Tcp(to(address))).await, failed("TCP_CHECK: no connection within 0.3 s"));
}

#[tokio::test]
async fn connections_come_from_where_they_should() {
    let (listener, address) = silent().await;
    let source = Ipv4Addr::new(127, 7, 7, 7);
    let port = nobody().await.port();
    let bound = Connection {
        bind_address: Some(source.into()),
        bind_port: Some(port),
        bind_interface: Some("lo".to_owned()),
        ..to(address)
    };
    for _ in 0..2 {
        // The second one too, although the first has just left the port.
        match run(Check::Tcp(bound.clone())).await {
            Outcome::Unable(reason) if reason.contains("permit") => {
                println!("SKIP: {reason}");
                return;
            }
            outcome => assert_eq!(outcome, Outcome::Well(0)),
        }
        let (stream, from) = listener.accept().await.unwrap();
        assert_eq!(from, SocketAddr::from((source, port)));
        // Reset, so that no trace of it is left.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[tokio::test]
async fn what_lies_here_is_no_failure_of_the_server() {
    let (_listener, address) = silent().await;
    let absent = Connection { bind_interface: Some("absent0".to_owned()), ..to(address) };
    assert_eq!(
        run(Check::Tcp(absent)).await,
        Outcome::Unable(
            "TCP_CHECK: cannot bind to the interface absent0: no such device".to_owned()
        )
    );
    let foreign =
        Connection { bind_address: Some(Ipv4Addr::new(192, 0, 2, 1).into()), ..to(address) };
    assert_eq!(
        run(Check::Tcp(foreign)).await,
        Outcome::Unable(
            "TCP_CHECK: cannot bind to 192.0.2.1:0: cannot assign requested address".to_owned()
        )
    );
}

/// A mail server that says these lines, as long as it hears what it should, and closes then.
async fn mail(says: [&'static str; 3]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        for (line, wanted) in says.iter().zip(["HELO balancer.example\r\n", "QUIT\r\n", ""]) {
            stream.write_all(line.as_bytes()).await.unwrap();
            let mut heard = String::new();
            if wanted.is_empty() || stream.read_line(&mut heard).await.is_err() || heard != wanted {
                return;
            }
        }
    });
    address
}

fn smtp(hosts: Vec<Connection>) -> Check {
    Check::Smtp(SmtpCheck { helo_name: "balancer.example".to_owned(), hosts })
}

#[tokio::test]
async fn smtp_has_a_dialogue() {
    for (says, wanted) in [
        (["220 mx ESMTP\r\n", "250 hello\r\n", "221 bye\r\n"], Ok(())),
        (["220\r\n", "250\r\n", "500 what?\r\n"], Ok(())),
        (["554 no\r\n", "", ""], Err("greeting \"554 no\", 220 wanted")),
        (["220-mx\r\n", "", ""], Err("greeting \"220-mx\", 220 wanted")),
        (["220 mx\r\n", "550 no\r\n", ""], Err("answer to HELO \"550 no\", 250 wanted")),
        (["220 mx\r\n", "250 hello\r\n", ""], Err("the server closed the connection")),
    ] {
        let outcome = run(smtp(vec![to(mail(says).await)])).await;
        let wanted = match wanted {
            Ok(()) => Outcome::Well(0),
            Err(reason) => failed(&format!("SMTP_CHECK: {reason}")),
        };
        assert_eq!(outcome, wanted, "{says:?}");
    }
    let (_listener, address) = silent().await;
    assert_eq!(run(smtp(vec![to(address)])).await, failed("SMTP_CHECK: no answer within 0.3 s"));
}

#[tokio::test]
async fn smtp_asks_all_hosts() {
    let well = ["220 mx\r\n", "250 hello\r\n", "221 bye\r\n"];
    let hosts = vec![to(mail(well).await), to(mail(well).await)];
    assert_eq!(run(smtp(hosts)).await, Outcome::Well(0));
    let hosts = vec![to(mail(well).await), to(nobody().await)];
    assert_eq!(run(smtp(hosts)).await, failed("SMTP_CHECK: 127.0.0.1: connection refused"));
}
