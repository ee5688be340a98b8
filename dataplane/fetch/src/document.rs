//! One document from one URL.

use std::net::SocketAddr;

use agentgateway_proto::v1::BackendTls;
use agentgateway_tls::{Client, Offer};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Error, MAX_BYTES, Network, PATIENCE};

/// Fetches a document. `authorities` as PEM; empty for those of the system.
pub(crate) async fn fetch(url: &str, authorities: &[u8], network: &Network) -> Result<Bytes, Error> {
    match tokio::time::timeout(PATIENCE, unbounded(url, authorities, network)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(Error::TimedOut(PATIENCE.as_secs())),
    }
}

async fn unbounded(url: &str, authorities: &[u8], network: &Network) -> Result<Bytes, Error> {
    let uri: Uri = url.parse().map_err(|e: http::uri::InvalidUri| Error::Url(e.to_string()))?;
    let host = uri.host().ok_or_else(|| Error::Url("it names no host".into()))?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(Error::Url("it is neither of https nor of http".into())),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = connect(host, port, network).await?;
    if !secure {
        return exchange(stream, &uri).await;
    }
    let authorities = if authorities.is_empty() { Vec::new() } else { vec![Bytes::copy_from_slice(authorities)] };
    let settings = BackendTls { hostname: host.to_owned(), authorities, ..BackendTls::default() };
    let client = Client::compile(&settings, None)?;
    let connector = TlsConnector::from(client.config(Offer::Http1).clone());
    let stream = connector.connect(client.server_name().clone(), stream).await;
    exchange(stream.map_err(|e| Error::Connection(format!("TLS to {host}: {e}")))?, &uri).await
}

/// The first address that takes a connection.
async fn connect(host: &str, port: u16, network: &Network) -> Result<TcpStream, Error> {
    let addresses = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => network.resolver.addresses(host).await?,
    };
    let mut failure = Error::Connection(format!("{host} has no address"));
    for address in addresses {
        let address = SocketAddr::new(address, port);
        match reach(address, network).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn reach(address: SocketAddr, network: &Network) -> Result<TcpStream, Error> {
    network.rules.check(address)?;
    let failed = |error: std::io::Error| Error::Connection(format!("{address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    network.rules.check_connected(stream.local_addr().map_err(failed)?, address)?;
    Ok(stream)
}

async fn exchange<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, uri: &Uri) -> Result<Bytes, Error> {
    let failed = |error: hyper::Error| Error::Connection(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let answer = ask(&mut sender, uri).await;
    connection.abort();
    answer
}

async fn ask(sender: &mut http1::SendRequest<Empty<Bytes>>, uri: &Uri) -> Result<Bytes, Error> {
    let failed = |error: hyper::Error| Error::Connection(error.to_string());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::new(Empty::new());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().map_err(|e: http::uri::InvalidUri| Error::Url(e.to_string()))?;
    let host = HeaderValue::from_str(authority).map_err(|e| Error::Url(e.to_string()))?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
    let response = sender.send_request(request).await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(Error::Status(response.status()));
    }
    let collected = Limited::new(response.into_body(), MAX_BYTES).collect().await;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Error::TooLarge(MAX_BYTES)),
        Err(error) => Err(Error::Connection(error.to_string())),
    }
}
