//! The body of an answer, with what counts for as long as it lasts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use agentgateway_telemetry::RequestTelemetry;
use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::server::InFlight;
use crate::state::PoolState;

/// An answer on its way.
pub(crate) struct Answer {
    // Dropped first: what comes next may use its connection.
    body: Body,
    _in_flight: Option<InFlight>,
    /// None once the first byte was there.
    began: Option<(Instant, Arc<PoolState>)>,
    telemetry: RequestTelemetry,
}

impl Answer {
    /// `began` is when the request came.
    pub(crate) fn new(
        body: Body,
        in_flight: Option<InFlight>,
        began: Instant,
        state: Arc<PoolState>,
        telemetry: RequestTelemetry,
    ) -> Answer {
        Answer { body, _in_flight: in_flight, began: Some((began, state)), telemetry }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some((began, state)) = self.began.take() {
            let took = began.elapsed();
            state.counters.first_byte.observe(took);
            self.telemetry.set("gen_ai.server.time_to_first_token", took.as_secs_f64());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
