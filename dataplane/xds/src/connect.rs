//! Opens a connection to the control plane: names resolved without libc, since the static binary has no NSS.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::config::ClientConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot read {what} {path}: {source}")]
    Read { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} holds no token that can be sent")]
    Token { path: PathBuf },
    #[error("the control plane's address has no host name")]
    NoHost,
    #[error("cannot use the CA bundle: {}", chain(.0))]
    Tls(tonic::transport::Error),
    #[error("cannot connect: {}", chain(.0))]
    Connect(tonic::transport::Error),
}

pub(crate) async fn channel(config: &ClientConfig) -> Result<Channel, ConnectError> {
    let mut endpoint = Endpoint::from(config.address.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if config.address.scheme_str() == Some("https") {
        let mut tls = ClientTlsConfig::new().domain_name(config.address.host().ok_or(ConnectError::NoHost)?);
        if let Some(path) = &config.root_ca {
            tls = tls.ca_certificate(Certificate::from_pem(read("the CA bundle", path).await?));
        }
        endpoint = endpoint.tls_config(tls).map_err(ConnectError::Tls)?;
    }
    endpoint.connect_with_connector(tower::service_fn(dial)).await.map_err(ConnectError::Connect)
}

/// "Bearer <token>" of the token file, marked so that it is never printed.
pub(crate) async fn authorization(path: &Path) -> Result<MetadataValue<Ascii>, ConnectError> {
    let token = read("the token", path).await?;
    let refused = || ConnectError::Token { path: path.to_owned() };
    let token = std::str::from_utf8(&token).map_err(|_| refused())?.trim();
    if token.is_empty() {
        return Err(refused());
    }
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    tokio::fs::read(path).await.map_err(|source| ConnectError::Read { what, path: path.to_owned(), source })
}

async fn dial(uri: Uri) -> std::io::Result<TokioIo<TcpStream>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            // Built anew each time: the resolver's configuration may have changed since the last connect.
            let resolver =
                TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(std::io::Error::other)?;
            resolver.lookup_ip(host.as_str()).await.map_err(std::io::Error::other)?.iter().collect()
        }
    };
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(TokioIo::new(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// tonic says only "transport error"; the cause is what an operator needs.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
