//! The call of a processor about one request: what is asked, what is awaited, and how it ends.

mod end;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agentgateway_callout::Stream;
use agentgateway_callout::processor::processing_request::Request as Question;
use agentgateway_callout::processor::{
    BodyMutation, Metadata, PROCESS, ProcessingRequest, ProcessingResponse, ProtocolConfiguration, body_mutation,
};
use agentgateway_upstream::{Cluster, Upstream};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method};
use serde_json::{Map, Value};
use tokio::time::Sleep;

pub(super) use self::end::{End, Ended, Failure};
use super::answer::{self, Answer, Kind, Said};
use super::mode::{Direction, Mode, Side};
use super::mutation::Rules;
use super::wakers::Wakers;
use super::{is_grpc, message};
use crate::limits::{
    MAX_KEPT_ANSWERS_BYTES, MAX_OBSERVER_BYTES, MAX_PROCESSOR_MESSAGE_BYTES, PROCESSOR_LINGER, PROCESSOR_STALL,
};

/// Under this name processors look for attributes.
const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";

/// Times that a processor may ask for more time where it gets none.
const MAX_VAIN_REQUESTS: u32 = 16;

type Process = Stream<ProcessingRequest, ProcessingResponse>;

/// What a policy says, for all its calls.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(super) origin: Box<str>,
    pub(super) mode: Mode,
    /// For the answer to one message.
    pub(super) timeout: Duration,
    /// The longest that the processor may ask for; None: it may not.
    pub(super) max_timeout: Option<Duration>,
    pub(super) fail_open: bool,
    pub(super) allow_override: bool,
    pub(super) observes: bool,
    /// An answer without a change gives a piece of a duplex body back as it was.
    pub(super) may_acknowledge: bool,
    pub(super) rules: Rules,
}

/// One call. A clone is the same one: the request's body holds one while it is sent.
#[derive(Clone)]
pub(crate) struct Call {
    settings: Arc<Settings>,
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    /// None: it is over.
    stream: Option<Process>,
    has_begun: bool,
    mode: Mode,
    halves: [Half; 2],
    end: Option<End>,
    vain_requests: u32,
    wakers: Arc<Wakers>,
    waker: Waker,
    is_grpc: bool,
    is_head_request: bool,
}

/// One direction.
#[derive(Default)]
struct Half {
    /// Answers that came while the other direction was read.
    kept: VecDeque<Answer>,
    kept_bytes: usize,
    /// Questions without an answer.
    awaited: usize,
    /// Answers come as they like.
    is_duplex: bool,
    /// Nobody reads answers any more.
    is_done: bool,
    timer: Option<Pin<Box<Sleep>>>,
    is_extended: bool,
}

impl Call {
    pub(super) fn new(
        settings: &Arc<Settings>,
        head: &Parts,
        upstream: &Upstream,
        cluster: &Arc<Cluster>,
        authority: Option<&HeaderValue>,
    ) -> Call {
        let wakers = Arc::<Wakers>::default();
        let inner = Inner {
            stream: Some(Stream::open(upstream, cluster, PROCESS, authority, MAX_PROCESSOR_MESSAGE_BYTES)),
            has_begun: false,
            mode: settings.mode,
            halves: Default::default(),
            end: None,
            vain_requests: 0,
            waker: Waker::from(Arc::clone(&wakers)),
            wakers,
            is_grpc: is_grpc(head),
            is_head_request: head.method == Method::HEAD,
        };
        Call { settings: Arc::clone(settings), inner: Rc::new(RefCell::new(inner)) }
    }

    pub(super) fn is_of(&self, settings: &Arc<Settings>) -> bool {
        Arc::ptr_eq(&self.settings, settings)
    }

    pub(super) fn may_acknowledge(&self) -> bool {
        self.settings.may_acknowledge
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.settings.rules
    }

    pub(super) fn mode(&self, side: Side) -> Direction {
        self.inner.borrow().mode.of(side)
    }

    pub(super) fn is_head_request(&self) -> bool {
        self.inner.borrow().is_head_request
    }

    pub(super) fn is_over(&self) -> bool {
        self.inner.borrow().end.is_some()
    }

    /// Asks a question that [`Call::answer`] brings the answer to.
    pub(super) fn ask(
        &self,
        side: Side,
        question: Question,
        attributes: Map<String, Value>,
        metadata: Option<Metadata>,
    ) {
        let inner = &mut *self.inner.borrow_mut();
        inner.send(&self.settings, question, attributes, metadata);
        let half = inner.half(side);
        half.awaited += 1;
        if half.timer.is_none() && !half.is_duplex {
            half.timer = Some(Box::pin(tokio::time::sleep(self.settings.timeout)));
        }
    }

    /// Says something to an observer, unless it is too slow; then it hears no more.
    pub(super) fn tell(&self, question: Question, attributes: Map<String, Value>, metadata: Option<Metadata>) {
        let waiting = self.inner.borrow().stream.as_ref().and_then(Stream::waiting_bytes);
        let has_room = waiting.is_some_and(|bytes| bytes < MAX_OBSERVER_BYTES);
        if has_room {
            self.inner.borrow_mut().send(&self.settings, question, attributes, metadata);
        } else if !self.is_over() {
            tracing::warn!(policy = &*self.settings.origin, "an observer is away or too slow, and loses a request");
            self.finish();
        }
    }

    /// From now on answers about this direction come as the processor likes, and in any number.
    pub(super) fn is_duplex(&self, side: Side) {
        let inner = &mut *self.inner.borrow_mut();
        let half = inner.half(side);
        (half.is_duplex, half.timer) = (true, None);
    }

    /// What is `blocked` by the processor may not be so for ever.
    pub(super) fn watch(&self, side: Side, blocked: bool) {
        let inner = &mut *self.inner.borrow_mut();
        let half = inner.half(side);
        match (blocked, half.timer.is_some()) {
            (true, false) => half.timer = Some(Box::pin(tokio::time::sleep(PROCESSOR_STALL))),
            (false, true) => half.timer = None,
            _ => {}
        }
    }

    /// Whether another piece may be sent.
    pub(super) fn poll_room(&self, side: Side, cx: &Context<'_>) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.wakers.set(side, cx.waker());
        let waker = inner.waker.clone();
        match &mut inner.stream {
            // An error is told with the next answer.
            Some(stream) => stream.poll_ready(&mut Context::from_waker(&waker)).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// The next answer about this direction.
    pub(super) async fn answer(&self, side: Side) -> Result<Answer, Ended> {
        std::future::poll_fn(|cx| self.poll_answer(side, cx)).await
    }

    /// See [`Call::answer`].
    pub(super) fn poll_answer(&self, side: Side, cx: &mut Context<'_>) -> Poll<Result<Answer, Ended>> {
        let inner = &mut *self.inner.borrow_mut();
        inner.wakers.set(side, cx.waker());
        let waker = inner.waker.clone();
        let shared = &mut Context::from_waker(&waker);
        loop {
            if let Some(answer) = inner.half(side).kept.pop_front() {
                let half = inner.half(side);
                half.kept_bytes = half.kept_bytes.saturating_sub(answer.size());
                // The other direction may have waited for the place.
                inner.waker.wake_by_ref();
                if let Some(nonsense) = inner.override_mode(&self.settings, &answer) {
                    inner.end_with(End::Failed(Failure::Contradiction(nonsense.into())));
                    return Poll::Ready(Err(Ended));
                }
                return Poll::Ready(Ok(answer));
            }
            if inner.end.is_some() {
                return Poll::Ready(Err(Ended));
            }
            let is_full = inner.halves.iter().any(|half| half.kept_bytes > MAX_KEPT_ANSWERS_BYTES);
            let said = match &mut inner.stream {
                Some(stream) if !is_full => stream.poll_recv(shared),
                Some(_) => Poll::Pending,
                None => Poll::Ready(Ok(None)),
            };
            match said {
                Poll::Ready(Ok(Some(said))) => inner.take(&self.settings, said),
                Poll::Ready(Ok(None)) => inner.end_with(End::Closed),
                Poll::Ready(Err(error)) => inner.end_with(End::Failed(Failure::Call(error))),
                Poll::Pending => {
                    let half = inner.half(side);
                    let is_duplex = half.is_duplex;
                    match half.timer.as_mut().map(|timer| timer.as_mut().poll(cx)) {
                        Some(Poll::Ready(())) if is_duplex => inner.end_with(End::Failed(Failure::Stalled)),
                        Some(Poll::Ready(())) => inner.end_with(End::Failed(Failure::Timeout(self.settings.timeout))),
                        _ => return Poll::Pending,
                    }
                }
            }
        }
    }

    /// A body as a whole; None: it stays.
    pub(super) fn whole(&self, body: Option<BodyMutation>) -> Result<Option<Bytes>, Ended> {
        match body.and_then(|body| body.mutation) {
            None | Some(body_mutation::Mutation::ClearBody(false)) => Ok(None),
            Some(body_mutation::Mutation::Body(new)) => Ok(Some(new)),
            Some(body_mutation::Mutation::ClearBody(true)) => Ok(Some(Bytes::new())),
            Some(body_mutation::Mutation::StreamedResponse(_)) => {
                Err(self.contradicts("it answers with a streamed_response without FULL_DUPLEX_STREAMED"))
            }
        }
    }

    /// Nothing more is asked about this direction; after the response's, about none.
    pub(super) fn done(&self, side: Side) {
        if side == Side::Response {
            return self.finish();
        }
        let inner = &mut *self.inner.borrow_mut();
        let half = inner.half(side);
        (half.is_done, half.timer, half.kept_bytes) = (true, None, 0);
        half.kept.clear();
        inner.waker.wake_by_ref();
    }

    /// Nothing more is asked.
    pub(super) fn finish(&self) {
        self.inner.borrow_mut().end_with(End::Closed);
    }
}

impl Inner {
    fn half(&mut self, side: Side) -> &mut Half {
        let [request, response] = &mut self.halves;
        match side {
            Side::Request => request,
            Side::Response => response,
        }
    }

    fn send(
        &mut self,
        settings: &Settings,
        question: Question,
        attributes: Map<String, Value>,
        metadata: Option<Metadata>,
    ) {
        let Some(stream) = &mut self.stream else { return };
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let attributes = (!attributes.is_empty()).then(|| (ATTRIBUTES.to_owned(), message::from_json(&attributes)));
        stream.send(&ProcessingRequest {
            request: Some(question),
            metadata_context: metadata,
            attributes: attributes.into_iter().collect(),
            observability_mode: settings.observes,
            protocol_config: is_first.then(|| ProtocolConfiguration {
                request_body_mode: settings.mode.request.body.wire().into(),
                response_body_mode: settings.mode.response.body.wire().into(),
                send_body_without_waiting_for_header_response: false,
            }),
        });
    }

    /// Sorts a message of the processor.
    fn take(&mut self, settings: &Settings, said: ProcessingResponse) {
        let contradiction = match answer::sort(said) {
            Said::Nonsense(what) => what,
            Said::Immediate(immediate) => return self.end_with(End::Immediate(immediate)),
            Said::Later(asked) => return self.extend(settings, asked),
            Said::Answer(side, answer) => {
                let half = self.half(side);
                if half.is_duplex || half.awaited > 0 {
                    half.awaited = half.awaited.saturating_sub(1);
                    if half.is_done {
                        return;
                    }
                    half.is_extended = false;
                    let waits = half.awaited > 0 && !half.is_duplex;
                    half.timer = waits.then(|| Box::pin(tokio::time::sleep(settings.timeout)));
                    half.kept_bytes += answer.size();
                    half.kept.push_back(answer);
                    // It may be the other direction that waits for it.
                    self.waker.wake_by_ref();
                    return;
                }
                "it answers what was not asked"
            }
        };
        self.end_with(End::Failed(Failure::Contradiction(contradiction.into())));
    }

    /// More time for what is awaited, once for each answer.
    fn extend(&mut self, settings: &Settings, asked: Duration) {
        let allowed = settings.max_timeout.is_some_and(|most| asked <= most) && asked >= Duration::from_millis(1);
        let mut is_in_vain = true;
        for half in self.halves.iter_mut().filter(|half| allowed && !half.is_duplex && !half.is_extended) {
            if let Some(timer) = &mut half.timer {
                timer.as_mut().reset(tokio::time::Instant::now() + asked);
                (half.is_extended, is_in_vain) = (true, false);
            }
        }
        self.vain_requests += u32::from(is_in_vain);
        if self.vain_requests > MAX_VAIN_REQUESTS {
            let text = "it asks for more time again and again, and may not have it";
            self.end_with(End::Failed(Failure::Contradiction(text.into())));
        }
    }

    /// Another mode from now on, where that is allowed; why not, where it makes no sense.
    fn override_mode(&mut self, settings: &Settings, answer: &Answer) -> Option<&'static str> {
        let (Some(by), Kind::Headers(_), true) = (&answer.mode, &answer.kind, settings.allow_override) else {
            return None;
        };
        match self.mode.overridden(by) {
            Some(mode) => self.mode = mode,
            None => return Some("it asks for a mode that is none, or changes FULL_DUPLEX_STREAMED"),
        }
        None
    }

    /// The first end counts.
    fn end_with(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        let is_orderly = matches!(end, End::Closed);
        self.end = Some(end);
        for half in &mut self.halves {
            half.timer = None;
        }
        if let Some(stream) = self.stream.take().filter(|_| is_orderly) {
            linger(stream);
        }
        self.waker.wake_by_ref();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            linger(stream);
        }
    }
}

/// Gives the processor the time to end its call by itself, instead of cancelling it.
fn linger(mut stream: Process) {
    stream.finish();
    tokio::task::spawn_local(async move {
        let ended = async { while let Ok(Some(_)) = stream.recv().await {} };
        let _ = tokio::time::timeout(PROCESSOR_LINGER, ended).await;
    });
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({})", self.settings.origin)
    }
}
