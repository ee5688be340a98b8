//! A body of which a processor gets a copy, and which does not wait for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentgateway_callout::processor::{HttpBody, HttpTrailers};
use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::call::Call;
use super::message;
use super::mode::{BodyMode, Side};

pub(super) struct Observed {
    call: Call,
    side: Side,
    source: Body,
    sends_pieces: bool,
    sends_trailers: bool,
    told_end: bool,
}

impl Observed {
    /// Puts it in the place of `body`, where something of that is sent.
    pub(super) fn begin(call: &Call, side: Side, body: &mut Option<Body>, is_empty: bool) {
        let mode = call.mode(side);
        let (sends_pieces, sends_trailers) = (mode.body == BodyMode::Streamed, mode.trailers);
        if is_empty || !(sends_pieces || sends_trailers) {
            return call.done(side);
        }
        let (call, source) = (call.clone(), body.take().unwrap_or_default());
        *body = Some(Body::stream(Observed { call, side, source, sends_pieces, sends_trailers, told_end: false }));
    }

    fn tell(&mut self, body: Bytes, end_of_stream: bool) {
        if self.sends_pieces && !self.told_end {
            self.told_end = end_of_stream;
            self.call.tell(self.side.body(HttpBody { body, end_of_stream }), Default::default(), None);
        }
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                self.tell(Bytes::new(), true);
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref() {
            let (data, is_last) = (data.clone(), self.source.is_end_stream());
            self.tell(data, is_last);
        } else if let Some(trailers) = frame.trailers_ref().filter(|_| self.sends_trailers) {
            let trailers = HttpTrailers { trailers: Some(message::trailers(trailers)) };
            self.call.tell(self.side.trailers(trailers), Default::default(), None);
            self.told_end = true;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.tell(Bytes::new(), true);
        self.call.done(self.side);
    }
}
