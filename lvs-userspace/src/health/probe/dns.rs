//! `DNS_CHECK`: a name server that answers a question without an error. Nothing but the answer's header counts, as in
//! keepalived's `check_dns.c`: what a library could tell of the records would go unread.

use tokio::time::timeout;

use super::{Fault, socket, within};
use crate::config::DnsCheck;

/// RFC 1035, 4.1.1: identifier, flags, four counts.
const HEADER: usize = 12;
/// The first bit of the flags: an answer.
const ANSWER: u8 = 0x80;
/// The last four: the response code.
const CODE: u8 = 0x0f;
/// What the codes mean: RFC 1035, 4.1.1.
const CODES: [&str; 6] =
    ["no error", "format error", "server failure", "name error", "not implemented", "refused"];

/// Asks, and waits for an answer with the question's identifier.
pub(super) async fn check(check: &DnsCheck) -> Result<(), Fault> {
    let identifier = fastrand::u16(..).to_be_bytes();
    let question = question(identifier, &check.name, check.record as u16)?;
    let socket = socket::udp(&check.connection)?;
    socket.send(&question).await.map_err(|error| Fault::of_peer(&error))?;
    let limit = check.connection.timeout;
    let answered = async {
        let mut buffer = [0; HEADER];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(|error| Fault::of_peer(&error))?;
            if let [first, second, flags, code, ..] = buffer
                && length == HEADER
                && [first, second] == identifier
                && flags & ANSWER != 0
            {
                let code = code & CODE;
                if code == 0 {
                    return Ok(());
                }
                let name = CODES.get(usize::from(code)).unwrap_or(&"unknown");
                return Err(Fault::failed(format!("response code {code} ({name})")));
            }
        }
    };
    timeout(limit, answered).await.unwrap_or_else(|_| Err(within("no answer", limit)))
}

/// A question about one name, with recursion desired.
fn question(identifier: [u8; 2], name: &str, record: u16) -> Result<Vec<u8>, Fault> {
    if let Some(fault) = DnsCheck::name_fault(name) {
        return Err(Fault::unable(format!("the name {name} {fault}")));
    }
    let mut packet = identifier.to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(u8::try_from(label.len()).map_err(Fault::unable)?);
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(record.to_be_bytes());
    // The class IN.
    packet.extend([0, 1]);
    Ok(packet)
}
