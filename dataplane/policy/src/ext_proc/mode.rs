//! Which parts of a request and of its response are sent.

use agentgateway_callout::processor::processing_mode::{BodySendMode, HeaderSendMode};
use agentgateway_callout::processor::processing_request::Request as Question;
use agentgateway_callout::processor::{HttpBody, HttpHeaders, HttpTrailers, ProcessingMode};
use agentgateway_proto::v1::external_processing::{Body, Mode as Spec};

use super::call::Failure;
use crate::body::Refused;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Side {
    pub(super) fn headers(self, headers: HttpHeaders) -> Question {
        match self {
            Side::Request => Question::RequestHeaders(headers),
            Side::Response => Question::ResponseHeaders(headers),
        }
    }

    pub(super) fn body(self, body: HttpBody) -> Question {
        match self {
            Side::Request => Question::RequestBody(body),
            Side::Response => Question::ResponseBody(body),
        }
    }

    pub(super) fn trailers(self, trailers: HttpTrailers) -> Question {
        match self {
            Side::Request => Question::RequestTrailers(trailers),
            Side::Response => Question::ResponseTrailers(trailers),
        }
    }

    /// A body of this direction cannot be read.
    pub(super) fn refused(self, refused: Refused) -> Failure {
        match self {
            Side::Request => Failure::Body(refused),
            Side::Response => Failure::ResponseBody(refused),
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Side::Request => 0,
            Side::Response => 1,
        }
    }
}

/// Of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) request: Direction,
    pub(super) response: Direction,
}

/// Of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) headers: bool,
    pub(super) body: BodyMode,
    pub(super) trailers: bool,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyMode {
    None,
    Streamed,
    /// Read first; `partial`: of larger ones the beginning.
    Whole {
        partial: bool,
    },
    Duplex,
}

impl Mode {
    pub(super) fn compile(spec: &Spec, observes: bool) -> Result<Mode, String> {
        let direction = |skips: bool, body: Body, trailers: bool| {
            let body = match body {
                Body::None => BodyMode::None,
                Body::Streamed => BodyMode::Streamed,
                Body::Buffered => BodyMode::Whole { partial: false },
                Body::BufferedPartial => BodyMode::Whole { partial: true },
                Body::FullDuplexStreamed => BodyMode::Duplex,
            };
            if observes && !matches!(body, BodyMode::None | BodyMode::Streamed) {
                return Err("an observer gets bodies STREAMED, or none".to_owned());
            }
            // A stream of its own ends only with them.
            Ok(Direction { headers: !skips, body, trailers: trailers || body == BodyMode::Duplex })
        };
        let body = |number: i32| Body::try_from(number).map_err(|_| "it sends bodies in an unknown way".to_owned());
        Ok(Mode {
            request: direction(spec.skip_request_headers, body(spec.request_body)?, spec.send_request_trailers)?,
            response: direction(spec.skip_response_headers, body(spec.response_body)?, spec.send_response_trailers)?,
        })
    }

    pub(super) fn of(&self, side: Side) -> Direction {
        match side {
            Side::Request => self.request,
            Side::Response => self.response,
        }
    }

    /// The mode that a processor asks for; None where it may not be had.
    pub(super) fn overridden(&self, by: &ProcessingMode) -> Option<Mode> {
        let direction = |headers: HeaderSendMode, body: BodySendMode, trailers: HeaderSendMode| {
            let body = match body {
                BodySendMode::None => BodyMode::None,
                BodySendMode::Streamed => BodyMode::Streamed,
                BodySendMode::Buffered => BodyMode::Whole { partial: false },
                BodySendMode::BufferedPartial => BodyMode::Whole { partial: true },
                BodySendMode::FullDuplexStreamed => return None,
            };
            let trailers = trailers == HeaderSendMode::Send;
            Some(Direction { headers: headers != HeaderSendMode::Skip, body, trailers })
        };
        let is_duplex = |direction: Direction| direction.body == BodyMode::Duplex;
        if is_duplex(self.request) || is_duplex(self.response) {
            return None;
        }
        let of = |number: i32| BodySendMode::try_from(number).ok();
        Some(Mode {
            request: direction(by.request_header_mode(), of(by.request_body_mode)?, by.request_trailer_mode())?,
            response: direction(by.response_header_mode(), of(by.response_body_mode)?, by.response_trailer_mode())?,
        })
    }
}

impl BodyMode {
    pub(super) fn wire(self) -> BodySendMode {
        match self {
            BodyMode::None => BodySendMode::None,
            BodyMode::Streamed => BodySendMode::Streamed,
            BodyMode::Whole { partial: false } => BodySendMode::Buffered,
            BodyMode::Whole { partial: true } => BodySendMode::BufferedPartial,
            BodyMode::Duplex => BodySendMode::FullDuplexStreamed,
        }
    }
}
