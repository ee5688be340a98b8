//! The port of the discovery server: plain on loopback, with TLS from our own CA in a cluster.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use agentgateway_controlplane_xds::Discovery;
use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;

/// Time a peer has for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that finished their handshake and wait to be served.
const ACCEPTED_QUEUE: usize = 16;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the port. Connections wait in the kernel's queue until [`Port::serve`].
pub(crate) async fn open(address: SocketAddr) -> io::Result<Port> {
    Ok(Port { listener: TcpListener::bind(address).await? })
}

/// An open port.
pub(crate) struct Port {
    listener: TcpListener,
}

impl Port {
    /// The address bound, with the port that the kernel chose for 0.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready and the streams have ended.
    pub(crate) async fn serve(
        self,
        discovery: Discovery,
        tls: Option<TlsAcceptor>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let router = Server::builder()
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(discovery.into_service());
        match tls {
            None => router.serve_with_incoming_shutdown(nodelay(self.listener), shutdown).await,
            Some(acceptor) => router.serve_with_incoming_shutdown(handshakes(self.listener, acceptor), shutdown).await,
        }
    }
}

fn nodelay(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    TcpListenerStream::new(listener).map(|accepted| {
        accepted.and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    })
}

/// Handshakes run beside each other, so that a slow or silent peer holds up nobody.
fn handshakes(listener: TcpListener, acceptor: TlsAcceptor) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (accepted, stream) = mpsc::channel(ACCEPTED_QUEUE);
    tokio::spawn(async move {
        let mut connections = nodelay(listener);
        while let Some(connection) = connections.next().await {
            let connection = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a discovery connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if accepted.is_closed() {
                return;
            }
            let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
            tokio::spawn(async move {
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(connection)).await {
                    // An error here means that the server is stopping.
                    Ok(Ok(stream)) => drop(accepted.send(Ok(stream)).await),
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake timed out"),
                }
            });
        }
    });
    ReceiverStream::new(stream)
}
