//! A body that passes by the processor piece by piece (`STREAMED`): each piece is sent, and its answer is what goes on. Or only
//! its trailers are.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentgateway_callout::processor::{HttpBody, HttpTrailers};
use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::answer::{Answer, Kind};
use super::call::{Call, Ended};
use super::message;
use super::mode::Side;
use crate::limits::{MAX_PIECE_BYTES, MAX_PIECES};

pub(super) struct Streamed {
    call: Call,
    side: Side,
    source: Body,
    /// Pieces are sent, not the trailers alone.
    sends_pieces: bool,
    sends_trailers: bool,
    /// The rest of a piece that was too large.
    rest: Bytes,
    /// Pieces without an answer, as they were.
    sent: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    asks_trailers: bool,
    has_ended: bool,
    /// The processor knows that nothing comes any more.
    told_end: bool,
    /// The processor sees no more.
    passes: bool,
}

impl Streamed {
    /// Puts it in the place of `body`.
    pub(super) fn begin(call: &Call, side: Side, body: &mut Option<Body>, sends_pieces: bool) {
        let streamed = Streamed {
            call: call.clone(),
            side,
            source: body.take().unwrap_or_default(),
            sends_pieces,
            sends_trailers: call.mode(side).trailers,
            rest: Bytes::new(),
            sent: VecDeque::new(),
            trailers: None,
            asks_trailers: false,
            has_ended: false,
            told_end: false,
            passes: false,
        };
        *body = Some(Body::stream(streamed));
    }

    /// Reads the body and sends what it reads, as far as it may. Gives a piece that goes on unsent.
    fn feed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        while !self.has_ended && self.sent.len() < MAX_PIECES {
            if self.sends_pieces {
                ready!(self.call.poll_room(self.side, cx));
            }
            if self.rest.is_empty() {
                match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if !self.sends_pieces => return Poll::Ready(Some(Ok(data))),
                        Ok(data) => self.rest = data,
                        Err(other) => {
                            self.trailers = other.into_trailers().ok();
                            self.has_ended = true;
                        }
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => self.has_ended = true,
                }
            }
            if self.has_ended {
                self.end();
            } else if !self.rest.is_empty() {
                let piece = self.rest.split_to(self.rest.len().min(MAX_PIECE_BYTES));
                self.told_end = self.rest.is_empty() && self.source.is_end_stream();
                self.has_ended |= self.told_end;
                self.send(piece);
            }
        }
        Poll::Ready(None)
    }

    fn send(&mut self, piece: Bytes) {
        let body = HttpBody { body: piece.clone(), end_of_stream: self.told_end };
        self.call.ask(self.side, self.side.body(body), Default::default(), None);
        self.sent.push_back(piece);
    }

    fn end(&mut self) {
        if let Some(trailers) = self.trailers.as_ref().filter(|_| self.sends_trailers) {
            let trailers = HttpTrailers { trailers: Some(message::trailers(trailers)) };
            self.call.ask(self.side, self.side.trailers(trailers), Default::default(), None);
            self.asks_trailers = true;
        } else if self.sends_pieces && !self.told_end {
            self.told_end = true;
            self.send(Bytes::new());
        }
    }

    /// What takes the place of the oldest piece, or of the trailers.
    fn answered(&mut self, answer: Answer) -> Result<Option<Frame<Bytes>>, Ended> {
        match (answer.kind, self.sent.pop_front()) {
            (Kind::Body(common), Some(piece)) => {
                let piece = self.call.whole(common.body)?.unwrap_or(piece);
                Ok(Some(piece).filter(|piece| !piece.is_empty()).map(Frame::data))
            }
            (Kind::Trailers(mutation), None) if self.asks_trailers => {
                self.asks_trailers = false;
                let mut trailers = self.trailers.take().unwrap_or_default();
                if let Some(mutation) = &mutation {
                    let changed = self.call.rules().trailers(&mut trailers, mutation);
                    changed.map_err(|failure| self.call.fail(failure))?;
                }
                Ok(Some(Frame::trailers(trailers)))
            }
            (kind, piece) => {
                let awaited = if piece.is_some() { "pieces of a body" } else { "trailers" };
                let other = Answer { kind, mode: None, metadata: Default::default() };
                Err(self.call.out_of_order(awaited, &other))
            }
        }
    }

    /// The rest as it is.
    fn pass(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while let Some(piece) = self.sent.pop_front() {
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if self.has_ended { Poll::Ready(None) } else { Pin::new(&mut self.source).poll_frame(cx) }
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if this.passes {
                return this.pass(cx);
            }
            let fed = this.feed(cx);
            match fed {
                Poll::Ready(Some(Ok(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) | Poll::Pending => {}
            }
            if this.sent.is_empty() && !this.asks_trailers {
                if !this.has_ended {
                    return Poll::Pending;
                }
                this.call.done(this.side);
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let ended = match ready!(this.call.poll_answer(this.side, cx)) {
                Ok(answer) => match this.answered(answer) {
                    Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                    Ok(None) => continue,
                    Err(ended) => ended,
                },
                Err(ended) => ended,
            };
            if let Err(reply) = this.call.conclude(ended) {
                return Poll::Ready(Some(Err(reply.reason.to_string().into())));
            }
            this.passes = true;
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // Whoever reads it has enough, as a backend that answers early.
        self.call.done(self.side);
    }
}
