//! `UDP_CHECK`: a datagram that nobody complains about, or that is answered.

use tokio::time::timeout;

use super::{Fault, socket, within};
use crate::config::{UdpCheck, UdpReply};

/// What is sent if nothing else is said: as long as keepalived's, so that nobody takes it for an empty datagram.
const PAYLOAD: &[u8; 32] = b"xlvs checks whether you are here";

/// Sends the payload, and waits for an answer or an ICMP error until the time is over.
pub(super) async fn check(check: &UdpCheck) -> Result<(), Fault> {
    let limit = check.connection.timeout;
    let socket = socket::udp(&check.connection)?;
    let payload = if check.payload.is_empty() { PAYLOAD.as_slice() } else { &check.payload };
    socket.send(payload).await.map_err(|error| Fault::of_peer(&error))?;
    // One byte more than is allowed shows what is too long.
    let room = check.reply.as_ref().map_or(1, |reply| usize::from(reply.max_length) + 1);
    let mut buffer = vec![0; room];
    match timeout(limit, socket.recv(&mut buffer)).await {
        Ok(Ok(length)) => {
            let answer = buffer.get(..length).unwrap_or_default();
            check.reply.as_ref().map_or(Ok(()), |reply| fits(reply, answer))
        }
        Ok(Err(error)) => Err(Fault::of_peer(&error)),
        Err(_) if check.reply.is_none() => Ok(()),
        Err(_) => Err(within("no answer", limit)),
    }
}

/// `check_udp_reply()` in keepalived's `check_udp.c`: the lengths count only with a pattern, and of that only as much as the
/// answer is long.
fn fits(reply: &UdpReply, answer: &[u8]) -> Result<(), Fault> {
    if reply.pattern.is_empty() {
        return Ok(());
    }
    if answer.len() < usize::from(reply.min_length) {
        let wanted = reply.min_length;
        return Err(Fault::failed(format!("{} bytes answered, {wanted} wanted", answer.len())));
    }
    if answer.len() > usize::from(reply.max_length) {
        return Err(Fault::failed(format!("more than {} bytes answered", reply.max_length)));
    }
    for (at, (byte, wanted)) in answer.iter().zip(&reply.pattern).enumerate() {
        if (byte ^ wanted.value) & wanted.mask != 0 {
            let text =
                format!("byte {at} of the answer is {byte:02x}, {:02x} wanted", wanted.value);
            return Err(Fault::Failed(text));
        }
    }
    Ok(())
}
