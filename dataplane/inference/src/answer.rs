//! The body of an answer, with what counts for as long as it lasts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use agentgateway_telemetry::RequestTelemetry;
use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::flow;
use crate::pool::Pool;
use crate::server::InFlight;

/// An answer on its way.
pub(crate) struct Answer {
    // Dropped first: what comes next may use its connection.
    body: Body,
    in_flight: Option<InFlight>,
    pool: Arc<Pool>,
    /// None once the first byte was there.
    began: Option<Instant>,
    telemetry: RequestTelemetry,
}

impl Answer {
    /// `began` is when the request came.
    pub(crate) fn new(
        body: Body,
        in_flight: Option<InFlight>,
        began: Instant,
        pool: Arc<Pool>,
        telemetry: RequestTelemetry,
    ) -> Answer {
        Answer { body, in_flight, pool, began: Some(began), telemetry }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(began) = self.began.take() {
            let took = began.elapsed();
            self.pool.state.counters.first_byte.observe(took);
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

impl Drop for Answer {
    fn drop(&mut self) {
        self.in_flight = None;
        // Its place may be another's.
        if self.pool.flow.waiting.is_some() && self.pool.state.flow.waiting() > 0 {
            flow::release(&self.pool);
        }
    }
}
