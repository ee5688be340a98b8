//! One direction of a message past the processor: headers, then the body in the way that the mode says.

use agentgateway_callout::processor::common_response::ResponseStatus;
use agentgateway_callout::processor::{HttpBody, HttpHeaders};
use agentgateway_expression::HttpInput;
use agentgateway_upstream::{Body, discard};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header, response};

use super::answer::{Answer, Common, Kind};
use super::call::{Call, Ended};
use super::duplex::{Duplex, Pump};
use super::mode::{BodyMode, Side};
use super::observe::Observed;
use super::streamed::Streamed;
use super::{ExternalProcessing, attributes, message};
use crate::RequestContext;
use crate::body::{Reading, replace_beginning};

/// The head of a message.
pub(super) enum Message<'a> {
    Request(&'a mut Parts),
    Response(&'a mut response::Parts),
}

impl Message<'_> {
    fn side(&self) -> Side {
        match self {
            Message::Request(_) => Side::Request,
            Message::Response(_) => Side::Response,
        }
    }

    fn headers(&mut self) -> &mut HeaderMap {
        match self {
            Message::Request(head) => &mut head.headers,
            Message::Response(head) => &mut head.headers,
        }
    }

    fn to_wire(&self, context: &RequestContext, end_of_stream: bool) -> HttpHeaders {
        let headers = match self {
            Message::Request(head) => message::request_headers(head, context),
            Message::Response(head) => message::response_headers(head),
        };
        HttpHeaders { headers: Some(headers), end_of_stream }
    }

    fn input<'a>(&'a self, context: &'a RequestContext) -> HttpInput<'a> {
        match self {
            Message::Request(head) => context.input(head),
            Message::Response(head) => context.response_input(head),
        }
    }

    fn change(&mut self, call: &Call, context: &mut RequestContext, common: &Common) -> Result<(), Ended> {
        let Some(mutation) = &common.headers else { return Ok(()) };
        let rules = call.rules();
        let changed = match self {
            Message::Request(head) => rules.request(head, context, mutation),
            Message::Response(head) => rules.response(head, mutation),
        };
        changed.map_err(|failure| call.fail(failure))
    }

    /// Another body is `length` bytes long; None: that is not known.
    fn has_other_body(&mut self, length: Option<usize>) {
        let headers = self.headers();
        match length {
            Some(length) => drop(headers.insert(header::CONTENT_LENGTH, length.into())),
            None => drop(headers.remove(header::CONTENT_LENGTH)),
        }
        if matches!(self, Message::Response(_)) {
            // They speak of the body that was there.
            let headers = self.headers();
            headers.remove(header::ETAG);
            headers.remove(header::ACCEPT_RANGES);
        }
    }
}

impl ExternalProcessing {
    /// `is_empty`: there is no body. Where it fails, `body` is what is left of it.
    pub(super) async fn walk(
        &self,
        call: &Call,
        mut head: Message<'_>,
        context: &mut RequestContext,
        body: &mut Option<Body>,
        is_empty: bool,
    ) -> Result<(), Ended> {
        let side = head.side();
        let attributes = match side {
            Side::Request => attributes(&self.request_attributes, &head.input(context)),
            Side::Response => attributes(&self.response_attributes, &head.input(context)),
        };
        let asks = call.mode(side);
        if self.settings.observes {
            if asks.headers {
                call.tell(side.headers(head.to_wire(context, is_empty)), attributes, self.metadata(context));
            }
            Observed::begin(call, side, body, is_empty);
            return Ok(());
        }
        let mut pump = None;
        if asks.headers {
            call.ask(side, side.headers(head.to_wire(context, is_empty)), attributes, self.metadata(context));
            if asks.body == BodyMode::Duplex && !is_empty {
                pump = Some(Pump::new(call, side, body.take().unwrap_or_default()));
            }
            let answer = match &mut pump {
                Some(pump) => pump.first().await,
                None => call.answer(side).await,
            };
            let common = answer.and_then(|answer| match answer {
                Answer { kind: Kind::Headers(common), metadata, .. } => {
                    context.leave(metadata);
                    head.change(call, context, &common)?;
                    Ok(common)
                }
                other => Err(call.out_of_order("headers", &other)),
            });
            let common = match common {
                Ok(common) => common,
                Err(ended) => {
                    *body = pump.map(Pump::into_source).or_else(|| body.take());
                    return Err(ended);
                }
            };
            if common.status == ResponseStatus::ContinueAndReplace {
                let new = call.whole(common.body)?.unwrap_or_default();
                if let Some(old) = pump.map(Pump::into_source).or_else(|| body.take()) {
                    discard(old);
                }
                if !(call.is_head_request() && side == Side::Response) {
                    head.has_other_body(Some(new.len()));
                    *body = Some(new.into());
                }
                call.done(side);
                return Ok(());
            }
            if common.body.is_some() {
                return Err(call.contradicts("it answers headers with a body, without CONTINUE_AND_REPLACE"));
            }
        }
        if is_empty {
            call.done(side);
            return Ok(());
        }
        // Its answer may have changed it.
        let mode = call.mode(side);
        match mode.body {
            BodyMode::None if !mode.trailers => call.done(side),
            BodyMode::None => Streamed::begin(call, side, body, false),
            BodyMode::Whole { partial } => {
                let has_more = self.whole(call, &mut head, context, body, partial).await?;
                if has_more && mode.trailers { Streamed::begin(call, side, body, false) } else { call.done(side) }
            }
            BodyMode::Streamed => {
                head.has_other_body(None);
                Streamed::begin(call, side, body, true);
            }
            BodyMode::Duplex => {
                head.has_other_body(None);
                let pump = pump.unwrap_or_else(|| Pump::new(call, side, body.take().unwrap_or_default()));
                *body = Some(Body::stream(Duplex::new(pump)));
            }
        }
        Ok(())
    }

    /// A body that is read first. Says whether trailers come after it.
    async fn whole(
        &self,
        call: &Call,
        head: &mut Message<'_>,
        context: &mut RequestContext,
        body: &mut Option<Body>,
        partial: bool,
    ) -> Result<bool, Ended> {
        let side = head.side();
        let read = Reading { limit: self.max_body, partial }.read(body).await;
        let read = read.map_err(|refused| call.fail(side.refused(refused)))?;
        let asks_more = read.has_trailers && call.mode(side).trailers;
        let sent = HttpBody { body: read.bytes.clone(), end_of_stream: !read.is_partial && !asks_more };
        call.ask(side, side.body(sent), Default::default(), None);
        let common = match call.answer(side).await? {
            Answer { kind: Kind::Body(common), metadata, .. } => {
                context.leave(metadata);
                common
            }
            other => return Err(call.out_of_order("a body", &other)),
        };
        head.change(call, context, &common)?;
        if let Some(new) = call.whole(common.body)? {
            head.has_other_body(Some(new.len()).filter(|_| !read.is_partial));
            replace(body, read.bytes.len(), new, read.is_partial || read.has_trailers);
        }
        // Of a body of which the processor has seen a part it sees no more.
        Ok(read.has_trailers && !read.is_partial)
    }
}

/// Puts other bytes in the place of the first `read` ones; `has_rest`: something comes after these.
fn replace(body: &mut Option<Body>, read: usize, new: Bytes, has_rest: bool) {
    *body = Some(match body.take() {
        Some(old) if has_rest => replace_beginning(old, read, new),
        _ => new.into(),
    });
}
