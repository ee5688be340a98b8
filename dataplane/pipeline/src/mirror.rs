//! Copies of requests for other backends, whose answers nobody waits for.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentgateway_policy::{Chain, Mirror, Reach, RequestContext};
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_upstream::Body;
use http::header;
use http::request::Parts;

use crate::authentication::Authentication;
use crate::forward::{self, Outgoing};
use crate::limits::{MAX_MIRROR_TIME, MAX_MIRRORS_PER_WORKER};
use crate::replay::Replay;
use crate::services::RequestServices;
use crate::snapshot::{Backend, BackendKind, Snapshot};
use crate::tap::Tap;
use crate::worker::Worker;

thread_local! {
    /// Mirrored requests of this worker that are under way.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// Counts a mirrored request for as long as it lives.
struct Running;

impl Running {
    /// None when there are as many as there may be.
    fn new() -> Option<Running> {
        RUNNING.with(|running| {
            let more = running.get() + 1;
            (more <= MAX_MIRRORS_PER_WORKER).then(|| running.set(more))
        })?;
        Some(Running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with(|running| running.set(running.get().saturating_sub(1)));
    }
}

/// A request on its way to its backend.
pub(crate) struct Original<'a> {
    pub(crate) head: &'a Parts,
    /// None where there is no body.
    pub(crate) body: Option<&'a Replay>,
    pub(crate) context: &'a RequestContext,
    /// Chains of the listener and the route.
    pub(crate) passed: &'a [Arc<Chain>],
}

/// Sends the copies that are due. To be called before the body is read.
pub(crate) fn start(worker: &Rc<Worker>, snapshot: &Snapshot, mirrors: &[Mirror], original: &Original<'_>) {
    for mirror in mirrors.iter().filter(|m| is_due(m, |below| worker.random_below(below))) {
        worker.metrics.mirrored.fetch_add(1, Ordering::Relaxed);
        if let Err(reason) = start_one(worker, snapshot, mirror, original) {
            failed(worker, mirror, reason);
        }
    }
}

/// `draw` gives a number below its argument.
fn is_due(mirror: &Mirror, draw: impl FnOnce(u64) -> u64) -> bool {
    mirror.numerator >= mirror.denominator || draw(mirror.denominator.into()) < mirror.numerator.into()
}

fn failed(worker: &Worker, mirror: &Mirror, reason: &str) {
    tracing::debug!(backend = &*mirror.backend, reason, "request not mirrored");
    worker.metrics.mirror_failures.fetch_add(1, Ordering::Relaxed);
}

fn start_one(
    worker: &Rc<Worker>,
    snapshot: &Snapshot,
    mirror: &Mirror,
    original: &Original<'_>,
) -> Result<(), &'static str> {
    let backend = Arc::clone(snapshot.backends.get(&mirror.backend).ok_or("the backend does not exist")?);
    let running = Running::new().ok_or("too many mirrored requests are under way")?;
    let (mut head, mut context) = (original.head.clone(), original.context.clone());
    // What is learnt of the copy is no part of the request's record.
    context.telemetry = RequestTelemetry::off();
    // Neither waits for the backend's leave to send its body, nor switches protocols.
    head.headers.remove(header::EXPECT);
    head.extensions.clear();
    let tap = original.body.map(Replay::tap);
    let watcher = tap.as_ref().map(Tap::watch);
    let body = tap.map_or(Body::Empty, Body::stream);
    let authentication = Authentication::of(original.passed.iter().chain([&backend.policies]));
    let (worker, mirror, snapshot) = (Rc::clone(worker), mirror.clone(), snapshot.clone());
    tokio::task::spawn_local(async move {
        let broken = async {
            match watcher {
                Some(watcher) => watcher.broken().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            sent = send(&worker, &snapshot, &backend, head, body, context, authentication) => {
                if let Err(reason) = sent {
                    failed(&worker, &mirror, &reason);
                }
            }
            reason = broken => failed(&worker, &mirror, reason),
            () = tokio::time::sleep(MAX_MIRROR_TIME) => failed(&worker, &mirror, "it took too long"),
        }
        drop(running);
    });
    Ok(())
}

async fn send(
    worker: &Worker,
    snapshot: &Snapshot,
    backend: &Backend,
    mut head: Parts,
    body: Body,
    mut context: RequestContext,
    authentication: Option<Authentication>,
) -> Result<(), String> {
    let mut body = Some(body);
    let BackendKind::Cluster(cluster) = &backend.kind else { return Err("the backend is none for plain HTTP".into()) };
    if backend.policies.has_steps() {
        let services = RequestServices { worker, snapshot };
        let mut reach = Reach { services: &services, body: &mut body };
        let answered = backend.policies.on_request(&mut head, &mut context, &mut reach).await;
        answered.map_err(|answer| answer.reason.to_string())?;
    }
    let mut body = body.unwrap_or_default();
    let signature = match authentication {
        Some(authentication) => {
            authentication.apply(&mut head, &mut body, &context).await.map_err(|e| e.to_string())?
        }
        None => None,
    };
    let takes_host_of_backend = context.takes_host_of_backend && !context.has_own_host;
    let outgoing = Outgoing { head, body, upgrade: None, signature, takes_host_of_backend };
    let response =
        forward::forward(worker, cluster, outgoing, (None, None), &mut None).await.map_err(|e| e.to_string())?;
    let mut body = response.into_body();
    while let Some(frame) = next(&mut body).await {
        frame.map_err(|e| e.to_string())?;
    }
    Ok(())
}

async fn next(body: &mut Body) -> Option<Result<http_body::Frame<bytes::Bytes>, agentgateway_upstream::BoxError>> {
    use http_body::Body as _;
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_mirrored_requests_is_exact() {
        let mirror = |numerator, denominator| Mirror { backend: "b".into(), numerator, denominator };
        for (numerator, denominator) in [(20, 100), (1, 3), (50, 100), (1, 1000), (1, 1)] {
            let mirror = mirror(numerator, denominator);
            // Each draw once: of `denominator` requests exactly `numerator` are due.
            let due = (0..u64::from(denominator)).filter(|n| is_due(&mirror, |_| *n)).count();
            assert_eq!(due, numerator as usize);
        }
    }

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let all: Vec<_> = (0..MAX_MIRRORS_PER_WORKER).map(|_| Running::new().expect("fits")).collect();
        assert!(Running::new().is_none());
        drop(all);
        assert!(Running::new().is_some());
    }
}
