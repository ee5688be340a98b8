//! One exchange with a provider: over the worker's own connections, to another endpoint when no connection comes about.

use std::time::Duration;

use agentgateway_pipeline::worker::Worker;
use agentgateway_upstream::{Body, Error, Kind};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use crate::limits::{ANSWER_TIMEOUT, MAX_CONNECT_TRIES};
use crate::provider::Provider;

/// Sends a request, whose head is as it goes out, and gives the answer when its head is there.
pub(crate) async fn send(
    worker: &Worker,
    provider: &Provider,
    head: Parts,
    body: Body,
) -> Result<Response<Body>, Error> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let late = || Error::new(Kind::Timeout, "the provider did not begin to answer in time");
    let mut request = Request::from_parts(head, body);
    let mut tries = 1;
    let mut _retry = None;
    loop {
        let picked = timeout_at(deadline, worker.upstream.pick(&provider.cluster)).await.map_err(|_| late())??;
        let failed = match timeout_at(deadline, worker.upstream.try_send(&picked, request)).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(failed)) => failed,
            Err(_) => {
                picked.was_late();
                return Err(late());
            }
        };
        match failed.unsent {
            Some(unsent) if tries < MAX_CONNECT_TRIES && failed.error.retry_safe => {
                let Ok(permit) = provider.cluster.retry() else { return Err(failed.error) };
                tries += 1;
                (_retry, request) = (permit, *unsent);
            }
            _ => return Err(failed.error),
        }
    }
}

/// Whether an answer is one that another provider may better.
pub(crate) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// How long the provider asks to be left alone, where it says so in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number("retry-after-ms")
        .map(Duration::from_millis)
        .or_else(|| number(header::RETRY_AFTER.as_str()).map(Duration::from_secs))
}
