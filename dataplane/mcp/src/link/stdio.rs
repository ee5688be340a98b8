//! A session's link to a target that is a child process: one process per session.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::peer::{Peer, Ticket};
use super::process;
use crate::capabilities::{Features, Handshake};
use crate::fault::{Fault, Kind};
use crate::jsonrpc::Envelope;
use crate::limits;
use crate::protocol::Version;
use crate::session::Session;
use crate::shared::Shared;
use crate::target::{Command, Target};

/// The process ends when the last reference goes.
#[derive(Debug)]
pub(crate) struct StdioLink {
    pub(crate) peer: Arc<Peer>,
    pub(crate) features: Features,
    pub(crate) version: Version,
    input: Input,
}

/// The way to the process's stdin.
#[derive(Debug)]
struct Input {
    target: Arc<str>,
    lines: mpsc::Sender<Bytes>,
}

impl Input {
    fn send(&self, message: &str) -> Result<(), Fault> {
        // Line ends inside JSON are only white space between its parts, and here they would end the message.
        let line = if message.contains(['\n', '\r']) {
            Bytes::from(message.replace(['\n', '\r'], " "))
        } else {
            Bytes::copy_from_slice(message.as_bytes())
        };
        self.lines.try_send(line).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Fault::new(&self.target, Kind::Overloaded, "does not read what it is sent")
            }
            mpsc::error::TrySendError::Closed(_) => {
                Fault::new(&self.target, Kind::SessionGone, "ended before it was asked")
            }
        })
    }
}

impl StdioLink {
    /// Starts the process and makes the handshake.
    pub(crate) async fn connect(
        shared: &Shared,
        background: &tokio::runtime::Handle,
        target: &Target,
        command: &Arc<Command>,
        session: &Arc<Session>,
    ) -> Result<(Self, Handshake), Fault> {
        let Ok(place) = Arc::clone(&shared.processes).try_acquire_owned() else {
            let message = format!("was not started: {} processes run already", shared.limits.processes);
            return Err(Fault::new(&target.name, Kind::Overloaded, message));
        };
        let peer = Peer::new(&target.name, target.index, session);
        let (lines, input) = mpsc::channel(limits::PROCESS_QUEUE);
        let start = process::Start {
            name: Arc::clone(&target.name),
            command: Arc::clone(command),
            peer: Arc::clone(&peer),
            input,
            answers: lines.downgrade(),
            message_bytes: shared.limits.message_bytes,
            stop: shared.stop.clone(),
            place,
        };
        shared.tasks.spawn_on(process::run(start), background);
        let input = Input { target: Arc::clone(&target.name), lines };
        let send = |message: String| {
            let sent = input.send(&message);
            async { sent }
        };
        let handshake = match handshake(target, &peer, session, send).await {
            // It knows no handshake, so it may be of the protocol that has none.
            Err(fault) if matches!(fault.kind, Kind::Rpc(_)) => {
                discover(target, &peer, session, send).await.map_err(|_| fault)?
            }
            other => other?,
        };
        Ok((Self { peer, features: handshake.features, version: handshake.version, input }, handshake))
    }

    /// Sends a request; the ticket gives its answer.
    pub(crate) fn request(&self, request: &Envelope<'_>, relays: bool) -> Result<Ticket, Fault> {
        let ticket = self.peer.expect(request, relays)?;
        self.input.send(request.text)?;
        Ok(ticket)
    }

    /// Sends a notification or a response.
    pub(crate) fn send(&self, message: &str) -> Result<(), Fault> {
        self.input.send(message)
    }
}

/// The handshake with a target that answers through a [`Peer`].
pub(crate) async fn handshake<F, S>(
    target: &Target,
    peer: &Arc<Peer>,
    session: &Session,
    send: S,
) -> Result<Handshake, Fault>
where
    S: FnOnce(String) -> F,
    F: Future<Output = Result<(), Fault>>,
{
    let message = session.initialize_request();
    let envelope = Envelope::parse(&message)
        .map_err(|e| Fault::new(&target.name, Kind::Protocol, format!("cannot be greeted: {e}")))?;
    let mut ticket = peer.expect(&envelope, false)?;
    send(message.clone()).await?;
    let Some(answer) = ticket.next().await else { return Err(ticket.broken()) };
    read_handshake(target, &answer)
}

/// What a target of the stateless protocol says of itself.
async fn discover<F, S>(target: &Target, peer: &Arc<Peer>, session: &Session, send: S) -> Result<Handshake, Fault>
where
    S: FnOnce(String) -> F,
    F: Future<Output = Result<(), Fault>>,
{
    let message = session.discover_request();
    let envelope = Envelope::parse(&message)
        .map_err(|e| Fault::new(&target.name, Kind::Protocol, format!("cannot be asked: {e}")))?;
    let mut ticket = peer.expect(&envelope, false)?;
    send(message.clone()).await?;
    let Some(answer) = ticket.next().await else { return Err(ticket.broken()) };
    read_discovery(target, &answer, session.version())
}

/// What a response to `server/discover` holds. `version` is the client's, for whom it is written as a handshake.
pub(crate) fn read_discovery(target: &Target, response: &str, version: Version) -> Result<Handshake, Fault> {
    let protocol =
        |why: String| Fault::new(&target.name, Kind::Protocol, format!("answered server/discover wrongly: {why}"));
    let envelope = Envelope::parse(response).map_err(|e| protocol(e.to_string()))?;
    if let Some(error) = envelope.error {
        return Err(Fault::new(&target.name, Kind::Rpc(error.into()), format!("refused server/discover: {error}")));
    }
    Handshake::discovered(envelope.result.unwrap_or_default(), version).map_err(protocol)
}

/// The handshake that a response to `initialize` holds.
pub(crate) fn read_handshake(target: &Target, response: &str) -> Result<Handshake, Fault> {
    let protocol =
        |why: String| Fault::new(&target.name, Kind::Protocol, format!("answered initialize wrongly: {why}"));
    let envelope = Envelope::parse(response).map_err(|e| protocol(e.to_string()))?;
    if let Some(error) = envelope.error {
        return Err(Fault::new(&target.name, Kind::Rpc(error.into()), format!("refused initialize: {error}")));
    }
    Handshake::parse(envelope.result.unwrap_or_default()).map_err(protocol)
}
