//! What a target answers to one request: messages, the last of which is the response.

use std::collections::VecDeque;
use std::sync::Arc;

use agentgateway_upstream::Body;
use http::Response;

use crate::breaker::Breaker;
use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope};
use crate::link::http::read;
use crate::link::peer::Ticket;
use crate::link::sse::Events;
use crate::modern::parked::Pump;
use crate::target::Target;

/// A message on its way to the client, with what its event said besides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Empty for an event that carries only an id to resume from.
    pub(crate) text: String,
    pub(crate) event_id: Option<String>,
    pub(crate) retry: Option<u64>,
}

/// Messages of one request, read one after the other.
pub(crate) struct Answer {
    target: Arc<str>,
    limit: usize,
    source: Source,
    /// Messages that were read ahead.
    ready: VecDeque<Message>,
    /// Told of the first message, or that there is none.
    breaker: Option<Arc<Breaker>>,
}

enum Source {
    /// One JSON body.
    Whole(Option<Body>),
    Events(Box<Events>),
    Peer(Ticket),
    Pump(Pump),
}

impl Answer {
    pub(crate) fn from_http(target: &Target, response: Response<Body>, limit: usize, is_events: bool) -> Self {
        let body = response.into_body();
        let source =
            if is_events { Source::Events(Box::new(Events::new(body, limit))) } else { Source::Whole(Some(body)) };
        Self {
            target: Arc::clone(&target.name),
            limit,
            source,
            ready: VecDeque::new(),
            breaker: target.breaker.clone(),
        }
    }

    /// A response that is there already.
    pub(crate) fn ready(target: &Target, text: String) -> Self {
        Self {
            target: Arc::clone(&target.name),
            limit: usize::MAX,
            source: Source::Whole(None),
            ready: VecDeque::from([Message { text, ..Message::default() }]),
            breaker: None,
        }
    }

    pub(crate) fn from_peer(target: &Target, ticket: Ticket) -> Self {
        Self {
            target: Arc::clone(&target.name),
            limit: usize::MAX,
            source: Source::Peer(ticket),
            ready: VecDeque::new(),
            breaker: target.breaker.clone(),
        }
    }

    /// What is left of an answer that another task reads.
    pub(crate) fn from_pump(target: &Target, pump: Pump) -> Self {
        Self {
            target: Arc::clone(&target.name),
            limit: usize::MAX,
            source: Source::Pump(pump),
            ready: VecDeque::new(),
            breaker: None,
        }
    }

    /// The next message; none when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Fault> {
        let next = self.read().await;
        if let Some(breaker) = self.breaker.take() {
            match &next {
                Ok(Some(_)) => breaker.succeed(),
                Ok(None) => breaker.fail(),
                Err(fault) => breaker.settle(fault),
            }
        }
        next
    }

    async fn read(&mut self) -> Result<Option<Message>, Fault> {
        if let Some(message) = self.ready.pop_front() {
            return Ok(Some(message));
        }
        let protocol = |why: String| Fault::new(&self.target, Kind::Protocol, why);
        match &mut self.source {
            Source::Whole(body) => {
                let Some(body) = body.take() else { return Ok(None) };
                let bytes = read(body, self.limit).await.map_err(|e| protocol(format!("answered badly: {e}")))?;
                let text = String::from_utf8(bytes.into())
                    .map_err(|_| protocol("answered with bytes that are not UTF-8".into()))?;
                // Servers of 2025-03-26 may answer with a batch.
                if text.trim_start().starts_with('[') {
                    let items = jsonrpc::items(&text).map_err(|e| protocol(format!("answered badly: {e}")))?;
                    self.ready =
                        items.into_iter().map(|text| Message { text: text.to_owned(), ..Message::default() }).collect();
                    return Ok(self.ready.pop_front());
                }
                Ok(Some(Message { text, ..Message::default() }))
            }
            Source::Events(events) => loop {
                let Some(event) = events.next().await.map_err(protocol)? else { return Ok(None) };
                if event.is_message() || event.id.is_some() || event.retry.is_some() {
                    let text = if event.is_message() { event.data } else { String::new() };
                    return Ok(Some(Message { text, event_id: event.id, retry: event.retry }));
                }
            },
            Source::Peer(ticket) => match ticket.next().await {
                Some(text) => Ok(Some(Message { text, ..Message::default() })),
                None => Ok(None),
            },
            Source::Pump(pump) => pump.recv().await.transpose(),
        }
    }

    /// The text of the response with this id (as written); other messages go to `other`.
    pub(crate) async fn response(mut self, id: &str, mut other: impl FnMut(String)) -> Result<String, Fault> {
        while let Some(message) = self.next().await? {
            if message.text.is_empty() {
                continue;
            }
            match Envelope::parse(&message.text) {
                Ok(envelope) if envelope.kind == jsonrpc::Kind::Response => {
                    if envelope.id == Some(id)
                        || (envelope.error.is_some() && matches!(envelope.id, None | Some("null")))
                    {
                        return Ok(message.text);
                    }
                }
                Ok(_) => other(message.text),
                Err(error) => {
                    return Err(Fault::new(&self.target, Kind::Protocol, format!("answered badly: {error}")));
                }
            }
        }
        Err(self.unfinished())
    }

    /// What to say when messages ended before the response.
    pub(crate) fn unfinished(&self) -> Fault {
        match &self.source {
            Source::Peer(ticket) => ticket.broken(),
            _ => Fault::new(&self.target, Kind::Broken, "ended its answer before the response"),
        }
    }
}
