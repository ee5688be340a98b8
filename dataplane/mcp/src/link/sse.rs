//! The HTTP+SSE transport of 2024-11-05 to a target: one stream brings everything that the server says, and names the
//! place where messages are posted to.

use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{Body, Picked};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use tokio::task::AbortHandle;

use super::http::{Forwarded, is_type, request};
use super::peer::{Inbound, Peer, Ticket};
use super::stdio::handshake;
use crate::capabilities::{Features, Handshake};
use crate::fault::{Fault, Kind};
use crate::jsonrpc::Envelope;
use crate::limits;
use crate::session::Session;
use crate::shared::Io;
use crate::sse::{Decoder, Event};
use crate::target::{HttpServer, Target};

/// The stream is read by a task of the worker that opened it, until the last reference goes.
#[derive(Debug)]
pub(crate) struct SseLink {
    pub(crate) peer: Arc<Peer>,
    pub(crate) features: Features,
    pub(crate) picked: Picked,
    messages: PathAndQuery,
    reader: AbortHandle,
}

impl Drop for SseLink {
    fn drop(&mut self) {
        self.peer.close("was left");
        self.reader.abort();
    }
}

impl SseLink {
    /// Opens the stream and makes the handshake.
    pub(crate) async fn connect(
        io: &Io,
        target: &Arc<Target>,
        session: &Arc<Session>,
        forwarded: &Forwarded,
    ) -> Result<(Self, Handshake), Fault> {
        let server = server(target)?;
        let picked = io.upstream().pick(&server.cluster).await.map_err(|e| Fault::upstream(&target.name, &e))?;
        let mut open = request(server, Method::GET, forwarded, Body::Empty);
        open.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let response = io.upstream().send(&picked, open).await.map_err(|e| Fault::upstream(&target.name, &e))?;
        let protocol = |why: String| Fault::new(&target.name, Kind::Protocol, why);
        if !response.status().is_success() {
            return Err(protocol(format!("answered with HTTP {} instead of a stream", response.status().as_u16())));
        }
        if !is_type(response.headers().get(CONTENT_TYPE), "text/event-stream") {
            return Err(protocol("answered without a stream of events".into()));
        }
        let mut events = Events::new(response.into_body(), io.shared.limits.message_bytes);
        let place = loop {
            match events.next().await {
                Ok(Some(event)) if event.name == "endpoint" => break event.data,
                Ok(Some(_)) => {}
                Ok(None) => return Err(protocol("closed its stream before it named its endpoint".into())),
                Err(why) => return Err(protocol(why)),
            }
        };
        let messages = resolve(&server.path, &place)
            .ok_or_else(|| protocol(format!("named an endpoint that is no URI: \"{place}\"")))?;
        let peer = Peer::new(&target.name, target.index, session);
        let reader = Reader {
            io: io.clone(),
            target: Arc::clone(target),
            peer: Arc::clone(&peer),
            picked: picked.clone(),
            messages: messages.clone(),
            forwarded: forwarded.clone(),
        };
        let reader = tokio::task::spawn_local(reader.run(events)).abort_handle();
        // From here on the link owns the reader, also when the handshake fails or is given up.
        let mut link = Self { peer, features: Features(0), picked, messages, reader };
        let handshake = {
            let send = |message: String| {
                link.post(io, target, forwarded, Bytes::from(message), target.connect_timeout(&io.shared.limits))
            };
            handshake(target, &link.peer, session, send).await?
        };
        link.features = handshake.features;
        Ok((link, handshake))
    }

    /// Sends a request; the ticket gives its answer.
    pub(crate) async fn request(
        &self,
        io: &Io,
        target: &Target,
        forwarded: &Forwarded,
        request: &Envelope<'_>,
        relays: bool,
    ) -> Result<Ticket, Fault> {
        let ticket = self.peer.expect(request, relays)?;
        self.send(io, target, forwarded, request.text).await?;
        Ok(ticket)
    }

    /// Sends any message.
    pub(crate) async fn send(
        &self,
        io: &Io,
        target: &Target,
        forwarded: &Forwarded,
        message: &str,
    ) -> Result<(), Fault> {
        let message = Bytes::copy_from_slice(message.as_bytes());
        self.post(io, target, forwarded, message, target.request_timeout(&io.shared.limits)).await
    }

    async fn post(
        &self,
        io: &Io,
        target: &Target,
        forwarded: &Forwarded,
        message: Bytes,
        patience: Duration,
    ) -> Result<(), Fault> {
        post(io, target, &self.picked, &self.messages, forwarded, message, patience).await
    }
}

fn server(target: &Target) -> Result<&HttpServer, Fault> {
    match &target.transport {
        crate::target::Transport::Sse(server) => Ok(server),
        _ => Err(Fault::new(&target.name, Kind::Protocol, "is not reached over SSE")),
    }
}

async fn post(
    io: &Io,
    target: &Target,
    picked: &Picked,
    messages: &PathAndQuery,
    forwarded: &Forwarded,
    message: Bytes,
    patience: Duration,
) -> Result<(), Fault> {
    let mut request = request(server(target)?, Method::POST, forwarded, message.into());
    *request.uri_mut() = Uri::from(messages.clone());
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = match tokio::time::timeout(patience, io.upstream().send(picked, request)).await {
        Ok(response) => response.map_err(|e| Fault::upstream(&target.name, &e))?,
        Err(_) => return Err(Fault::timeout(&target.name, "take a message", patience)),
    };
    let status = response.status();
    // Read to its end, so that the connection can be used again.
    drop(super::http::read(response.into_body(), limits::ERROR_BODY_BYTES).await);
    if status.is_success() {
        return Ok(());
    }
    if status == http::StatusCode::NOT_FOUND || status == http::StatusCode::GONE {
        return Err(Fault::new(&target.name, Kind::SessionGone, "does not know its session any more"));
    }
    Err(Fault::new(&target.name, Kind::Protocol, format!("answered a message with HTTP {}", status.as_u16())))
}

/// Reads the stream for as long as it lasts.
struct Reader {
    io: Io,
    target: Arc<Target>,
    peer: Arc<Peer>,
    picked: Picked,
    messages: PathAndQuery,
    forwarded: Forwarded,
}

impl Reader {
    async fn run(self, mut events: Events) {
        let why = loop {
            match events.next().await {
                Ok(Some(event)) if event.is_message() => match self.peer.accept(event.data) {
                    Inbound::Done => {}
                    Inbound::Answer(answer) => self.answer(answer).await,
                    Inbound::Garbage(why) => {
                        tracing::warn!(mcp_target = %self.target.name, why, "an event is no message; it is ignored");
                    }
                },
                Ok(Some(_)) => {}
                Ok(None) => break "closed its stream".to_owned(),
                Err(why) => break why,
            }
        };
        tracing::info!(mcp_target = %self.target.name, "target {why}");
        self.peer.close(why);
    }

    async fn answer(&self, answer: Bytes) {
        let sent =
            post(&self.io, &self.target, &self.picked, &self.messages, &self.forwarded, answer, limits::GOODBYE).await;
        if let Err(fault) = sent {
            tracing::debug!(%fault, "a ping could not be answered");
        }
    }
}

/// Events of a response body.
pub(crate) struct Events {
    body: Body,
    decoder: Decoder,
    ready: std::collections::VecDeque<Event>,
}

impl Events {
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self { body, decoder: Decoder::new(limit), ready: std::collections::VecDeque::new() }
    }

    /// The next event; none at the end; an error says why there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|e| format!("broke its stream off: {e}"))?;
            if let Some(data) = frame.data_ref() {
                let ready = &mut self.ready;
                self.decoder.push(data, |event| ready.push_back(event)).map_err(|e| format!("sent too much: {e}"))?;
            }
        }
    }
}

/// Where `reference` leads, seen from `base`. Only path and query count: messages go to the endpoint that holds the
/// stream, whatever host the server believes to have.
fn resolve(base: &PathAndQuery, reference: &str) -> Option<PathAndQuery> {
    let reference = reference.trim();
    if let Some((_, rest)) = reference.split_once("://") {
        return match rest.find('/') {
            Some(at) => rest[at..].parse().ok(),
            None => Some(PathAndQuery::from_static("/")),
        };
    }
    if reference.starts_with('/') {
        return reference.parse().ok();
    }
    if reference.starts_with('?') {
        return format!("{}{reference}", base.path()).parse().ok();
    }
    let folder = base.path().rfind('/').map_or("", |at| &base.path()[..at]);
    format!("{folder}/{reference}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_messages() {
        let base = PathAndQuery::from_static("/mcp/sse");
        let at = |reference| resolve(&base, reference).unwrap().to_string();
        assert_eq!(at("/messages?sessionId=1"), "/messages?sessionId=1");
        assert_eq!(at("messages?x"), "/mcp/messages?x");
        assert_eq!(at("?x"), "/mcp/sse?x");
        assert_eq!(at("http://localhost:3001/messages/?x"), "/messages/?x");
        assert_eq!(at("http://localhost"), "/");
        assert!(resolve(&base, "/a b").is_none());
    }
}
