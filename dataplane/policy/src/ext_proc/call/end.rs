//! How a call ends, and what then becomes of the request.

use std::fmt;
use std::time::Duration;

use agentgateway_callout::Error;
use agentgateway_callout::processor::ImmediateResponse;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Call, Settings};
use crate::body::Refused;
use crate::ext_proc::answer::Answer;
use crate::{Reason, Reply};

/// How it ended.
pub(crate) enum End {
    /// In order: nothing more is asked, or the processor wants to see no more.
    Closed,
    /// The processor answers in the backend's stead.
    Immediate(Box<ImmediateResponse>),
    Failed(Failure),
}

/// The call is over; [`Call::conclude`] says what follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended;

/// Why a processor could not be asked.
#[derive(Debug)]
pub(crate) enum Failure {
    NoBackend,
    Call(Error),
    Timeout(Duration),
    /// It neither takes what is sent nor says anything.
    Stalled,
    /// What it says makes no sense here.
    Contradiction(Box<str>),
    /// It changes a header that it may not.
    Denied(Box<str>),
    /// It ended its call, or failed, and has bytes of a body that it did not give back.
    Lost(Option<Box<Failure>>),
    /// Of the request.
    Body(Refused),
    /// Of the response.
    ResponseBody(Refused),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoBackend => f.write_str("its backend does not exist"),
            Failure::Call(error) => error.fmt(f),
            Failure::Timeout(limit) => write!(f, "no answer within {} ms", limit.as_millis()),
            Failure::Stalled => f.write_str("it takes nothing and answers nothing any more"),
            Failure::Contradiction(what) => f.write_str(what),
            Failure::Denied(name) => write!(f, "it changes {name}, which it may not"),
            Failure::Lost(None) => f.write_str("it ended its call with a part of the body"),
            Failure::Lost(Some(why)) => write!(f, "it has a part of the body, and {why}"),
            Failure::Body(refused) | Failure::ResponseBody(refused) => f.write_str(refused.text()),
        }
    }
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Failure::Timeout(_) | Failure::Stalled => StatusCode::GATEWAY_TIMEOUT,
            Failure::Body(refused) => refused.status(),
            Failure::ResponseBody(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the message can go on as if there were no processor.
    fn may_pass(&self) -> bool {
        !matches!(self, Failure::NoBackend | Failure::Lost(_) | Failure::Body(_) | Failure::ResponseBody(_))
    }
}

impl Settings {
    /// The answer to a request whose processor failed.
    pub(in crate::ext_proc) fn failed(&self, failure: &Failure) -> Reply {
        let reason = Reason::ProcessingFailed(format!("{}: {failure}", self.origin).into());
        Reply::new(failure.status(), "the request cannot be processed", reason)
    }
}

impl Call {
    /// Ends it with a failure, unless it is over.
    pub(in crate::ext_proc) fn fail(&self, failure: Failure) -> Ended {
        self.inner.borrow_mut().end_with(End::Failed(failure));
        Ended
    }

    pub(in crate::ext_proc) fn contradicts(&self, what: &str) -> Ended {
        self.fail(Failure::Contradiction(what.into()))
    }

    /// An answer about something else than what is awaited.
    pub(in crate::ext_proc) fn out_of_order(&self, awaited: &str, found: &Answer) -> Ended {
        self.contradicts(&format!("it answers {} where {awaited} are asked about", found.kind.name()))
    }

    /// The processor has bytes that did not come back: without them nothing may pass.
    pub(in crate::ext_proc) fn lost(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.end = Some(match inner.end.take() {
            Some(End::Failed(failure @ Failure::Lost(_))) => End::Failed(failure),
            Some(End::Failed(failure)) => End::Failed(Failure::Lost(Some(Box::new(failure)))),
            Some(End::Immediate(immediate)) => End::Immediate(immediate),
            Some(End::Closed) | None => End::Failed(Failure::Lost(None)),
        });
    }

    /// What follows from the end: the message passes as it is, or there is an answer in its stead.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(in crate::ext_proc) fn conclude(&self, _: Ended) -> Result<(), Reply> {
        if let Some(reply) = self.refusal() {
            return Err(reply);
        }
        if let Some(End::Failed(failure)) = &self.inner.borrow().end {
            let policy = &*self.settings.origin;
            tracing::warn!(policy, %failure, "a processor failed; the message passes as it is");
        }
        Ok(())
    }

    /// The answer in the place of the message, where the call's end asks for one.
    pub(crate) fn refusal(&self) -> Option<Reply> {
        let inner = self.inner.borrow();
        match inner.end.as_ref()? {
            End::Closed => None,
            End::Immediate(immediate) => Some(match self.immediate(immediate, inner.is_grpc) {
                Ok(reply) => reply,
                Err(failure) => self.settings.failed(&failure),
            }),
            End::Failed(failure) if self.settings.fail_open && failure.may_pass() => None,
            End::Failed(failure) => Some(self.settings.failed(failure)),
        }
    }

    /// Headers may be set as on any response; what frames it may not.
    fn immediate(&self, immediate: &ImmediateResponse, is_grpc: bool) -> Result<Reply, Failure> {
        let code = immediate.status.as_ref().map_or(0, |status| status.code);
        let status = u16::try_from(code).ok().filter(|code| (200..600).contains(code));
        let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else {
            return Err(Failure::Contradiction(format!("it answers with status {code}, which is none").into()));
        };
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        if let Some(mutation) = &immediate.headers {
            self.settings.rules.response(&mut head, mutation)?;
        }
        let mut body = immediate.body.clone();
        match &immediate.grpc_status {
            Some(grpc) if is_grpc => {
                // An answer without messages has the status in its headers, and HTTP's is 200 (gRPC over HTTP2, "Responses").
                head.status = StatusCode::OK;
                head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                head.headers.insert("grpc-status", grpc.status.into());
                let text = HeaderValue::from_bytes(&std::mem::replace(&mut body, Bytes::new())).ok();
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    head.headers.insert("grpc-message", text);
                }
            }
            _ if !body.is_empty() && !head.headers.contains_key(header::CONTENT_TYPE) => {
                head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            }
            _ => {}
        }
        let detail = match immediate.details.as_str() {
            "" => self.settings.origin.to_string(),
            // Of the processor's own: the log takes no more than a line of it.
            details => format!("{}: {}", self.settings.origin, details.chars().take(200).collect::<String>()),
        };
        Ok(Reply { response: Response::from_parts(head, body), reason: Reason::Processed(detail.into()) })
    }
}
