//! A body that the processor takes as one stream and gives back as another (`FULL_DUPLEX_STREAMED`): how it cuts its pieces, and when
//! it sends them, is its own affair.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentgateway_callout::processor::{HttpBody, HttpTrailers, StreamedBodyResponse, body_mutation::Mutation};
use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::answer::{Answer, Common, Kind};
use super::call::{Call, Ended};
use super::message;
use super::mode::Side;
use crate::body::Refused;
use crate::limits::{MAX_PIECE_BYTES, MAX_PROCESSED_BYTES};

/// Sends the body as it comes.
pub(super) struct Pump {
    call: Call,
    side: Side,
    source: Body,
    /// The rest of a piece that was too large.
    rest: Bytes,
    /// As they were sent.
    trailers: Option<HeaderMap>,
    /// Pieces that the processor may give back by acknowledging them; None: it may not.
    unacknowledged: Option<Pieces>,
    has_sent: bool,
    has_ended: bool,
}

/// Pieces of a body, and whether each is the last.
#[derive(Default)]
struct Pieces {
    all: VecDeque<(Bytes, bool)>,
    bytes: usize,
}

impl Pump {
    pub(super) fn new(call: &Call, side: Side, source: Body) -> Pump {
        call.is_duplex(side);
        let unacknowledged = call.may_acknowledge().then(Pieces::default);
        let (call, rest) = (call.clone(), Bytes::new());
        Pump { call, side, source, rest, trailers: None, unacknowledged, has_sent: false, has_ended: false }
    }

    /// What was not sent.
    pub(super) fn into_source(self) -> Body {
        self.source
    }

    /// The first answer, which may come as late as when all was sent.
    pub(super) async fn first(&mut self) -> Result<Answer, Ended> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = self.poll_answer(cx) {
                return Poll::Ready(answer);
            }
            self.pump(cx);
            // What was sent may be answered already.
            self.poll_answer(cx)
        })
        .await
    }

    fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<Result<Answer, Ended>> {
        let answer = ready!(self.call.poll_answer(self.side, cx));
        if answer.is_err() && self.has_sent {
            self.call.lost();
        }
        Poll::Ready(answer)
    }

    /// Sends as much as there is, and as the processor takes.
    fn pump(&mut self, cx: &mut Context<'_>) {
        let is_blocked = loop {
            if self.has_ended || self.call.poll_room(self.side, cx).is_pending() {
                break true;
            }
            if self.rest.is_empty() {
                match Pin::new(&mut self.source).poll_frame(cx) {
                    Poll::Pending => break false,
                    Poll::Ready(None) => {
                        self.send(Bytes::new(), true);
                        continue;
                    }
                    Poll::Ready(Some(Err(_))) => {
                        self.has_ended = true;
                        self.call.fail(self.side.refused(Refused::BrokeOff));
                        break false;
                    }
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.rest = data,
                        Err(other) => {
                            let trailers = other.into_trailers().unwrap_or_default();
                            let wire = HttpTrailers { trailers: Some(message::trailers(&trailers)) };
                            self.call.ask(self.side, self.side.trailers(wire), Default::default(), None);
                            (self.trailers, self.has_ended, self.has_sent) = (Some(trailers), true, true);
                            continue;
                        }
                    },
                }
            }
            if !self.rest.is_empty() {
                let piece = self.rest.split_to(self.rest.len().min(MAX_PIECE_BYTES));
                let is_last = self.rest.is_empty() && self.source.is_end_stream();
                self.send(piece, is_last);
            }
        };
        self.call.watch(self.side, is_blocked);
    }

    /// The next piece that the processor gives back as it was.
    fn acknowledged(&mut self) -> Option<(Bytes, bool)> {
        let pieces = self.unacknowledged.as_mut()?;
        let piece = pieces.all.pop_front()?;
        pieces.bytes -= piece.0.len();
        Some(piece)
    }

    fn send(&mut self, body: Bytes, end_of_stream: bool) {
        if let Some(pieces) = &mut self.unacknowledged {
            pieces.bytes += body.len();
            pieces.all.push_back((body.clone(), end_of_stream));
            if pieces.bytes > MAX_PROCESSED_BYTES {
                self.unacknowledged = None;
            }
        }
        self.call.ask(self.side, self.side.body(HttpBody { body, end_of_stream }), Default::default(), None);
        (self.has_sent, self.has_ended) = (true, self.has_ended || end_of_stream);
    }
}

/// What the processor gives back.
pub(super) struct Duplex {
    pump: Pump,
    has_ended: bool,
}

impl Duplex {
    pub(super) fn new(pump: Pump) -> Duplex {
        Duplex { pump, has_ended: false }
    }

    fn given(&mut self, piece: Bytes, is_last: bool) -> Option<Frame<Bytes>> {
        self.has_ended = is_last;
        Some(piece).filter(|piece| !piece.is_empty()).map(Frame::data)
    }

    fn answered(&mut self, answer: Answer) -> Result<Option<Frame<Bytes>>, Ended> {
        let call = &self.pump.call;
        match answer.kind {
            Kind::Body(Common { body, .. }) => match body.and_then(|body| body.mutation) {
                Some(Mutation::StreamedResponse(StreamedBodyResponse { body, end_of_stream })) => {
                    self.pump.unacknowledged = None;
                    Ok(self.given(body, end_of_stream))
                }
                None => match self.pump.acknowledged() {
                    Some((body, end_of_stream)) => Ok(self.given(body, end_of_stream)),
                    None => Err(self.pump.call.contradicts("it answers a piece with no streamed_response")),
                },
                Some(_) => Err(call.contradicts("it answers a piece with no streamed_response")),
            },
            Kind::Trailers(mutation) => {
                let Some(mut trailers) = self.pump.trailers.take() else {
                    return Err(call.contradicts("it answers trailers that were not sent"));
                };
                if let Some(mutation) = &mutation {
                    call.rules().trailers(&mut trailers, mutation).map_err(|failure| call.fail(failure))?;
                }
                self.has_ended = true;
                Ok(Some(Frame::trailers(trailers)))
            }
            kind @ Kind::Headers(_) => {
                let other = Answer { kind, mode: None, metadata: Default::default() };
                Err(call.out_of_order("pieces of a body", &other))
            }
        }
    }
}

impl http_body::Body for Duplex {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut is_pumped = false;
        loop {
            if this.has_ended {
                this.pump.call.done(this.pump.side);
                return Poll::Ready(None);
            }
            let answer = match this.pump.poll_answer(cx) {
                Poll::Ready(answer) => answer,
                Poll::Pending if is_pumped => return Poll::Pending,
                Poll::Pending => {
                    this.pump.pump(cx);
                    is_pumped = true;
                    continue;
                }
            };
            match answer.and_then(|answer| this.answered(answer)) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(ended) => {
                    // What it has of the body is not here any more: nothing passes as it is.
                    this.pump.call.lost();
                    let reason = this.pump.call.conclude(ended).err().map(|reply| reply.reason.to_string());
                    return Poll::Ready(Some(Err(reason.unwrap_or_default().into())));
                }
            }
        }
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        // Whoever reads it has enough, as a backend that answers early.
        self.pump.call.done(self.pump.side);
    }
}
