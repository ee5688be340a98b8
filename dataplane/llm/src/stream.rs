//! The body of a streamed answer: the provider's bytes through a translator, piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentgateway_llm_format::{Fault, FaultKind, StreamTranslator};
use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::SILENCE_TIMEOUT;
use crate::record::Record;
use crate::tokens::Charge;

/// Keeps nothing but what the translator keeps; the provider is read no faster than the client reads.
pub(crate) struct Streamed {
    /// None: it has ended.
    source: Option<Body>,
    translator: StreamTranslator,
    /// What was read before the answer's head was sent.
    first: Bytes,
    record: Record,
    /// None: nothing limits the tokens.
    charge: Option<Charge>,
    silence: Pin<Box<Sleep>>,
    heard: Instant,
}

impl Streamed {
    pub(crate) fn new(
        (source, first): (Body, Bytes),
        translator: StreamTranslator,
        record: Record,
        charge: Option<Charge>,
    ) -> Streamed {
        let silence = Box::pin(sleep(SILENCE_TIMEOUT));
        Streamed { source: Some(source), translator, first, record, charge, silence, heard: Instant::now() }
    }

    /// Whether the provider has been silent for too long. The timer is set anew only when it fires, not with each piece.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.silence.as_mut().poll(cx));
            let due = self.heard + SILENCE_TIMEOUT;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.silence.as_mut().reset(due);
        }
    }

    fn end_with(&mut self, message: &'static str, kind: FaultKind) -> Bytes {
        self.source = None;
        self.translator.abort(Fault::new(kind, message))
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let Some(source) = &mut this.source else { return Poll::Ready(None) };
            let out = if this.first.is_empty() {
                match Pin::new(source).poll_frame(cx) {
                    Poll::Pending => {
                        ready!(this.poll_silence(cx));
                        this.end_with("the provider has been silent for too long", FaultKind::Timeout)
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        this.heard = Instant::now();
                        this.translator.push(frame.into_data().unwrap_or_default())
                    }
                    Poll::Ready(Some(Err(_))) => {
                        this.end_with("the connection to the provider broke", FaultKind::BadGateway)
                    }
                    Poll::Ready(None) => {
                        this.source = None;
                        this.translator.finish()
                    }
                }
            } else {
                this.translator.push(std::mem::take(&mut this.first))
            };
            if this.translator.is_ended() {
                // A provider that goes on after an error is not listened to.
                this.source = None;
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let translator = &self.translator;
        if let Some(fault) = translator.fault() {
            self.record.error(&fault.message);
        }
        if let Some(charge) = self.charge.take() {
            // Of a stream that was left before its end the provider tells no usage; its events are about as many as its tokens.
            let seen = charge.estimate.saturating_add(translator.events());
            charge.settle(translator.usage().map_or(seen, |usage| usage.total()));
        }
        self.record.answered(translator.model(), translator.usage(), translator.finish_reason());
    }
}
