//! The PROXY protocol (versions 1 and 2): where a balancer before the gateway says that the client is.
//!
//! Specification: "The PROXY protocol, Versions 1 & 2", HAProxy Technologies, 2020. TLVs are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;

use agentgateway_proto::v1::bind::ProxyProtocol;
use tokio::net::TcpStream;

use super::{Client, Opening, PEEK_AGAIN};
use crate::limits::{MAX_PROXY_HEADER, PROXY_HEADER_TIMEOUT};
use crate::snapshot::Bind;

const V1: &[u8] = b"PROXY ";
/// With its line's end.
const V1_MOST: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEADER: usize = 16;

/// Whether a bind's connections may begin with the header.
pub(super) fn is_expected(bind: &Bind) -> bool {
    bind.proxy_protocol != ProxyProtocol::Off
}

/// Reads the header, and nothing after it. False: the connection is not to be served.
pub(super) async fn receive(bind: &Bind, client: &mut Client, stream: &TcpStream) -> bool {
    let read = tokio::time::timeout(PROXY_HEADER_TIMEOUT, read(stream));
    let why = match Opening::run(&client.state, read).await {
        None => return false,
        Some(Ok(Ok(Some(header)))) => {
            client.source = header.source.unwrap_or(client.source);
            return true;
        }
        Some(Ok(Ok(None))) if bind.proxy_protocol == ProxyProtocol::Optional => return true,
        Some(Ok(Ok(None))) => "the connection does not begin with it".to_owned(),
        Some(Ok(Err(why))) => why,
        Some(Err(_)) => format!("it is not complete after {} s", PROXY_HEADER_TIMEOUT.as_secs()),
    };
    client.worker.metrics.proxy_protocol_failures.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(source = %client.source, why, "no PROXY protocol header that can be used");
    false
}

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Bytes that it has.
    length: usize,
    /// None where it says nothing of the client: a health check of the balancer's own, or an address of another kind.
    source: Option<SocketAddr>,
}

/// None: there is no header.
async fn read(mut stream: &TcpStream) -> Result<Option<Header>, String> {
    let mut bytes = vec![0; MAX_PROXY_HEADER];
    loop {
        let got = stream.peek(&mut bytes).await.map_err(|e| e.to_string())?;
        if got == 0 {
            return Err("the client closed the connection".to_owned());
        }
        match parse(bytes.get(..got).unwrap_or_default())? {
            Parsed::Absent => return Ok(None),
            Parsed::Incomplete => tokio::time::sleep(PEEK_AGAIN).await,
            Parsed::Complete(header) => {
                // Taken exactly: what follows is the client's.
                let header_bytes = bytes.get_mut(..header.length).unwrap_or_default();
                read_exact(&mut stream, header_bytes).await.map_err(|e| e.to_string())?;
                return Ok(Some(header));
            }
        }
    }
}

/// On a shared reference: the caller keeps the stream.
async fn read_exact(stream: &mut &TcpStream, mut bytes: &mut [u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        stream.readable().await?;
        match stream.try_read(bytes) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes = bytes.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    Absent,
    Incomplete,
    Complete(Header),
}

/// The bytes that have come so far.
fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let begins = |signature: &[u8]| {
        let common = bytes.len().min(signature.len());
        bytes.get(..common) == signature.get(..common)
    };
    if begins(V2) {
        if bytes.len() < V2_HEADER { Ok(Parsed::Incomplete) } else { version_2(bytes) }
    } else if begins(V1) {
        if bytes.len() < V1.len() { Ok(Parsed::Incomplete) } else { version_1(bytes) }
    } else {
        Ok(Parsed::Absent)
    }
}

fn version_1(bytes: &[u8]) -> Result<Parsed, String> {
    let looked_at = bytes.get(..bytes.len().min(V1_MOST)).unwrap_or_default();
    let Some(end) = looked_at.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MOST { Ok(Parsed::Incomplete) } else { Err("its line has no end".to_owned()) };
    };
    let line = std::str::from_utf8(looked_at.get(V1.len()..end).unwrap_or_default()).map_err(|_| "it is not ASCII")?;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let header = |source| Ok(Parsed::Complete(Header { length: end + 2, source }));
    if family == "UNKNOWN" {
        return header(None);
    }
    let mut word = || words.next().ok_or_else(|| "a word is missing".to_owned());
    let (source, target) = (word()?, word()?);
    let (port, target_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err("it has too many words".to_owned());
    }
    let address = |text: &str| -> Result<IpAddr, String> {
        let address = match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => return Err(format!("{family:?} is no protocol")),
        };
        address.ok_or_else(|| format!("{text:?} is no address of {family}"))
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
    address(target)?;
    number(target_port)?;
    header(Some(SocketAddr::new(address(source)?, number(port)?)))
}

fn version_2(bytes: &[u8]) -> Result<Parsed, String> {
    let Some([version_and_command, family, high, low]) = bytes.get(V2.len()..V2_HEADER) else {
        return Ok(Parsed::Incomplete);
    };
    if version_and_command >> 4 != 2 {
        return Err(format!("version {} is not known", version_and_command >> 4));
    }
    let length = V2_HEADER + usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_PROXY_HEADER {
        return Err(format!("it has {length} bytes; at most {MAX_PROXY_HEADER} are allowed"));
    }
    let Some(rest) = bytes.get(V2_HEADER..length) else { return Ok(Parsed::Incomplete) };
    let source = match (version_and_command & 0xf, family >> 4) {
        // LOCAL: the balancer's own connection, and UNSPEC.
        (0, _) | (1, 0) => None,
        (1, 1) => match *rest {
            [a, b, c, d, _, _, _, _, high, low, _, _, ..] => {
                Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))))
            }
            _ => return Err("its addresses are too short".to_owned()),
        },
        (1, 2) => match (rest.first_chunk::<16>(), rest.get(32..36)) {
            (Some(address), Some([high, low, _, _])) => {
                Some(SocketAddr::from((Ipv6Addr::from(*address), u16::from_be_bytes([*high, *low]))))
            }
            _ => return Err("its addresses are too short".to_owned()),
        },
        // A Unix socket has no address that means something here.
        (1, 3) => None,
        (1, other) => return Err(format!("address family {other} is not known")),
        (other, _) => return Err(format!("command {other} is not known")),
    };
    Ok(Parsed::Complete(Header { length, source }))
}

#[cfg(test)]
mod tests;
