//! What a processor answers, sorted by the direction that it speaks of.

use agentgateway_callout::processor::common_response::ResponseStatus;
use agentgateway_callout::processor::processing_response::Response;
use agentgateway_callout::processor::{
    BodyMutation, CommonResponse, Duration as WireDuration, HeaderMutation, ImmediateResponse, ProcessingMode,
    ProcessingResponse,
};
use prost::Message as _;
use serde_json::{Map, Value};
use std::time::Duration;

use super::message;
use super::mode::Side;
use crate::limits::MAX_LEFT_METADATA_BYTES;

/// A message of the processor.
pub(super) enum Said {
    /// About one direction.
    Answer(Side, Answer),
    /// In the backend's stead.
    Immediate(Box<ImmediateResponse>),
    /// The answer takes so long from now.
    Later(Duration),
    /// It makes no sense.
    Nonsense(&'static str),
}

/// An answer about one direction.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) mode: Option<ProcessingMode>,
    /// What it leaves for other policies.
    pub(super) metadata: Map<String, Value>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Headers(Common),
    Body(Common),
    Trailers(Option<HeaderMutation>),
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Headers(_) => "headers",
            Kind::Body(_) => "a body",
            Kind::Trailers(_) => "trailers",
        }
    }
}

/// What answers about headers and bodies have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) status: ResponseStatus,
    pub(super) headers: Option<HeaderMutation>,
    pub(super) body: Option<BodyMutation>,
}

impl Common {
    fn of(response: Option<CommonResponse>) -> Option<Common> {
        let response = response.unwrap_or_default();
        let status = ResponseStatus::try_from(response.status).ok()?;
        let body = response.body_mutation.filter(|body| body.mutation.is_some());
        Some(Common { status, headers: response.header_mutation, body })
    }

    /// About so many bytes.
    fn size(&self) -> usize {
        self.headers.as_ref().map_or(0, |m| m.encoded_len()) + self.body.as_ref().map_or(0, |m| m.encoded_len())
    }
}

impl Answer {
    /// About so many bytes.
    pub(super) fn size(&self) -> usize {
        128 + match &self.kind {
            Kind::Headers(common) | Kind::Body(common) => common.size(),
            Kind::Trailers(mutation) => mutation.as_ref().map_or(0, |m| m.encoded_len()),
        }
    }
}

/// Sorts a message.
pub(super) fn sort(said: ProcessingResponse) -> Said {
    let Some(response) = said.response else {
        let asked = said.override_message_timeout.and_then(duration);
        return asked.map_or(Said::Nonsense("it is empty"), Said::Later);
    };
    let metadata = match said.dynamic_metadata {
        Some(left) if left.encoded_len() > MAX_LEFT_METADATA_BYTES => {
            return Said::Nonsense("it leaves too much metadata");
        }
        Some(left) => message::to_json(left),
        None => Map::new(),
    };
    let (side, kind) = match response {
        Response::RequestHeaders(h) => (Side::Request, Common::of(h.response).map(Kind::Headers)),
        Response::ResponseHeaders(h) => (Side::Response, Common::of(h.response).map(Kind::Headers)),
        Response::RequestBody(b) => (Side::Request, Common::of(b.response).map(Kind::Body)),
        Response::ResponseBody(b) => (Side::Response, Common::of(b.response).map(Kind::Body)),
        Response::RequestTrailers(t) => (Side::Request, Some(Kind::Trailers(t.header_mutation))),
        Response::ResponseTrailers(t) => (Side::Response, Some(Kind::Trailers(t.header_mutation))),
        Response::ImmediateResponse(immediate) => return Said::Immediate(Box::new(immediate)),
    };
    match kind {
        Some(kind) => Said::Answer(side, Answer { kind, mode: said.mode_override, metadata }),
        None => Said::Nonsense("it has an unknown status"),
    }
}

fn duration(wire: WireDuration) -> Option<Duration> {
    let nanos = u32::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, nanos))
}
