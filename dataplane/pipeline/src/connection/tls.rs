//! TLS on a connection: which listener it is for, the handshake, and who the client is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use agentgateway_telemetry::access_log::StreamEntry;
use agentgateway_telemetry::metrics::HandshakeFailure;
use agentgateway_tls::hello::{self, Hello, NotTls};
use agentgateway_tls::{Identity, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::server::TlsStream;

use super::stream::{Chosen, Flow};
use super::{Client, Opening, http};
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::request::Secure;
use crate::snapshot::{Bind, Listener, Listeners, StreamListener, Tls, TlsListener};

/// Bytes that are read at once of a ClientHello; most have no more.
const HELLO_BYTES: usize = 2048;

/// What became of a connection's first messages.
enum Opened {
    /// HTTP over TLS.
    Https { stream: TlsStream<TcpStream>, secure: Secure },
    /// A stream over TLS that ends here.
    Terminated { stream: TlsStream<TcpStream>, flow: Flow, chosen: Chosen },
    /// A stream whose TLS is the backend's, with the bytes that were read of it.
    PassedThrough { stream: TcpStream, flow: Flow, chosen: Chosen, read: Vec<u8> },
}

/// Why a connection is not served.
enum Refused {
    /// The client went away before it said anything: a probe of the port.
    Gone,
    /// A route has no backend for it; its flow has said so.
    Flow,
    /// The handshake did not come about.
    Handshake(HandshakeFailure, String),
}

/// What is known of a handshake, also when it fails.
#[derive(Default)]
struct Seen {
    server_name: Option<String>,
    listener: Option<Arc<str>>,
}

/// Serves a connection of a bind whose listeners are told apart by server name.
pub(super) async fn serve(client: Client, bind: Arc<Bind>, stream: TcpStream) {
    let (start, mut seen) = (Instant::now(), Seen::default());
    let opened = tokio::time::timeout(HANDSHAKE_TIMEOUT, open(&client, &bind, stream, &mut seen));
    let Some(opened) = Opening::run(&client.state, opened).await else { return };
    drop(bind);
    let refused = match opened {
        Ok(Ok(opened)) => return run(client, opened).await,
        Ok(Err(refused)) => refused,
        Err(_) => {
            let why = format!("no end within {} s", HANDSHAKE_TIMEOUT.as_secs());
            Refused::Handshake(HandshakeFailure::Timeout, why)
        }
    };
    let Refused::Handshake(failure, why) = refused else { return };
    let worker = &client.worker;
    worker.metrics.handshakes.failed(failure);
    tracing::debug!(source = %client.source, reason = failure.reason(), why, "TLS handshake failed");
    if let Some(log) = &worker.access_log {
        log.write_stream(&StreamEntry {
            listener: seen.listener.as_deref().unwrap_or_default(),
            route: "",
            source: client.source,
            protocol: "TLS",
            server_name: seen.server_name.as_deref(),
            duration: start.elapsed(),
            received: 0,
            sent: 0,
            endpoint: None,
            reason: Some(&format!("tls_{}: {why}", failure.reason())),
        });
    }
}

async fn run(client: Client, opened: Opened) {
    match opened {
        Opened::Https { stream, secure } => http::serve_encrypted(client.origin(Some(secure)), stream).await,
        Opened::Terminated { stream, flow, chosen } => flow.carry(&client.state, chosen, stream, Vec::new()).await,
        Opened::PassedThrough { stream, flow, chosen, read } => flow.carry(&client.state, chosen, stream, read).await,
    }
}

async fn open(client: &Client, bind: &Bind, mut stream: TcpStream, seen: &mut Seen) -> Result<Opened, Refused> {
    let Listeners::Tls(listeners) = &bind.listeners else { return Err(Refused::Gone) };
    let read = read_hello(&mut stream, seen).await?;
    let name = seen.server_name.clone().unwrap_or_default();
    let Some(listener) = listeners.matching(&name).next() else {
        // A port of streams says nothing in TLS of its own, and clients of Gateway API's suite take an alert for an answer.
        if listeners.values().any(|l| matches!(l, TlsListener::Https(_))) {
            say(&mut stream, &hello::UNRECOGNIZED_NAME).await;
        }
        return Err(Refused::Handshake(HandshakeFailure::NoListener, format!("no listener has the name {name:?}")));
    };
    match listener {
        TlsListener::Https(listener) => https(client, listener, stream, &read, seen).await,
        TlsListener::Stream(listener) => streams(client, listener, stream, read, seen).await,
    }
}

async fn https(
    client: &Client,
    listener: &Arc<Listener>,
    stream: TcpStream,
    read: &[u8],
    seen: &mut Seen,
) -> Result<Opened, Refused> {
    seen.listener = Some(Arc::clone(&listener.printed));
    let (stream, server, identity) = handshake(client, listener.tls.as_ref(), stream, read).await?;
    let secure = Secure { listener: Arc::clone(&listener.key), server, identity: identity.map(Arc::new) };
    Ok(Opened::Https { stream, secure })
}

async fn streams(
    client: &Client,
    listener: &Arc<StreamListener>,
    stream: TcpStream,
    read: Vec<u8>,
    seen: &mut Seen,
) -> Result<Opened, Refused> {
    seen.listener = Some(Arc::clone(&listener.printed));
    let mut flow = Flow::new(&client.worker, Arc::clone(listener), client.source, "TLS");
    flow.server_name = seen.server_name.clone();
    // Before the handshake: a client is refused, and not let in to be cut off.
    let Some(chosen) = flow.choose().await else { return Err(Refused::Flow) };
    if listener.tls.is_none() {
        return Ok(Opened::PassedThrough { stream, flow, chosen, read });
    }
    match handshake(client, listener.tls.as_ref(), stream, &read).await {
        Ok((stream, _, _)) => Ok(Opened::Terminated { stream, flow, chosen }),
        Err(refused) => {
            flow.forget();
            Err(refused)
        }
    }
}

/// Reads until the message is complete, and not beyond what has come with it.
async fn read_hello(stream: &mut TcpStream, seen: &mut Seen) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::with_capacity(HELLO_BYTES);
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) if bytes.is_empty() => return Err(Refused::Gone),
            Ok(0) => return Err(protocol("the client closed the connection within its ClientHello")),
            Err(error) => return Err(protocol(error)),
            Ok(_) => {}
        }
        match hello::parse(&bytes) {
            Ok(Hello::Incomplete) => {}
            Ok(Hello::Complete(name)) => {
                seen.server_name = name;
                return Ok(bytes);
            }
            Err(why @ NotTls::NotHandshake) => {
                return Err(Refused::Handshake(HandshakeFailure::NotTls, why.to_string()));
            }
            Err(why) => return Err(protocol(why)),
        }
    }
}

async fn handshake(
    client: &Client,
    tls: Option<&Tls>,
    mut stream: TcpStream,
    read: &[u8],
) -> Result<(TlsStream<TcpStream>, Arc<Server>, Option<Identity>), Refused> {
    let server = match tls {
        Some(Ok(server)) => Arc::clone(server),
        Some(Err(why)) => {
            say(&mut stream, &hello::INTERNAL_ERROR).await;
            return Err(Refused::Handshake(HandshakeFailure::Configuration, why.to_string()));
        }
        None => return Err(Refused::Handshake(HandshakeFailure::Configuration, "the listener has no TLS".into())),
    };
    let accepted = match hello::accept(read) {
        Ok(accepted) => accepted,
        Err(refused) => {
            say(&mut stream, &refused.alert).await;
            return Err(protocol(refused.reason));
        }
    };
    let started = StartHandshake::from_parts(accepted, stream).into_stream(Arc::clone(server.config()));
    let mut stream = started.await.map_err(|error| {
        let of_certificate = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<TlsError>())
            .is_some_and(|e| matches!(e, TlsError::NoCertificatesPresented | TlsError::InvalidCertificate(_)));
        let failure = if of_certificate { HandshakeFailure::ClientCertificate } else { HandshakeFailure::Protocol };
        Refused::Handshake(failure, error.to_string())
    })?;
    match server.identity(stream.get_ref().1) {
        Ok(identity) => {
            client.worker.metrics.handshakes.completed.fetch_add(1, Ordering::Relaxed);
            Ok((stream, server, identity))
        }
        Err(error) => {
            // A client that is told comes again without its session.
            let _gone = stream.shutdown().await;
            Err(Refused::Handshake(HandshakeFailure::ClientCertificate, error.to_string()))
        }
    }
}

fn protocol(why: impl std::fmt::Display) -> Refused {
    Refused::Handshake(HandshakeFailure::Protocol, why.to_string())
}

/// Sends an alert before the connection is closed.
async fn say(stream: &mut TcpStream, alert: &[u8]) {
    // Who is gone need not be told.
    if stream.write_all(alert).await.is_ok() {
        let _gone = stream.shutdown().await;
    }
}
