//! What an agent's answer says of a task, read while it passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::json::{Reader, Sink, Text};
use crate::message::Binding;

/// States of tasks, as A2A 0.3 writes them; 1.0 has `TASK_STATE_INPUT_REQUIRED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    Submitted,
    Working,
    InputRequired,
    AuthRequired,
    Completed,
    Canceled,
    Failed,
    Rejected,
    Unknown,
}

impl TaskState {
    pub(crate) const ALL: [TaskState; 9] = [
        TaskState::Submitted,
        TaskState::Working,
        TaskState::InputRequired,
        TaskState::AuthRequired,
        TaskState::Completed,
        TaskState::Canceled,
        TaskState::Failed,
        TaskState::Rejected,
        TaskState::Unknown,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TaskState::Submitted => "submitted",
            TaskState::Working => "working",
            TaskState::InputRequired => "input-required",
            TaskState::AuthRequired => "auth-required",
            TaskState::Completed => "completed",
            TaskState::Canceled => "canceled",
            TaskState::Failed => "failed",
            TaskState::Rejected => "rejected",
            TaskState::Unknown => "unknown",
        }
    }

    fn of(written: &str) -> TaskState {
        let name = written.strip_prefix("TASK_STATE_").unwrap_or(written).to_ascii_lowercase().replace('_', "-");
        // The protobuf form of 0.3 writes it so.
        let name = if name == "cancelled" { "canceled" } else { &name };
        TaskState::ALL.into_iter().find(|state| state.as_str() == name).unwrap_or(TaskState::Unknown)
    }
}

/// What was learnt of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learnt {
    /// The last state.
    pub(crate) state: Option<TaskState>,
    pub(crate) task: Option<String>,
    /// Whether it is, or ends with, an error of JSON-RPC.
    pub(crate) is_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A JSON-RPC response.
    Response,
    /// A task, an event about one, or what holds either.
    Payload,
    Status,
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Payload,
    Status,
    State,
    Task,
    Other,
}

#[derive(Debug)]
struct Facts {
    binding: Binding,
    places: Vec<Place>,
    next: Next,
    learnt: Learnt,
}

impl Sink for Facts {
    fn open(&mut self, object: bool, _: usize) {
        let next = std::mem::replace(&mut self.next, Next::Other);
        self.places.push(match (self.places.is_empty(), next, object) {
            (true, _, true) if self.binding == Binding::JsonRpc => Place::Response,
            (true, _, true) | (false, Next::Payload, true) => Place::Payload,
            (false, Next::Status, true) => Place::Status,
            _ => Place::Elsewhere,
        });
    }

    fn close(&mut self, _: usize) {
        self.places.pop();
    }

    fn name(&mut self, name: Text<'_>) {
        let place = self.places.last().copied().unwrap_or(Place::Elsewhere);
        let Text::Whole(name) = name else {
            self.next = Next::Other;
            return;
        };
        self.learnt.is_error |= place == Place::Response && name == "error";
        self.next = match (place, name) {
            (Place::Response, "result") => Next::Payload,
            (Place::Payload, "task" | "statusUpdate" | "status_update" | "artifactUpdate") => Next::Payload,
            (Place::Payload, "status") => Next::Status,
            (Place::Payload, "id" | "taskId") => Next::Task,
            (Place::Status, "state") => Next::State,
            _ => Next::Other,
        };
    }

    fn text(&mut self, text: Text<'_>, _: (usize, usize)) {
        match (std::mem::replace(&mut self.next, Next::Other), text) {
            (Next::State, Text::Whole(state)) => self.learnt.state = Some(TaskState::of(state)),
            (Next::Task, Text::Whole(task)) => drop(self.learnt.task.get_or_insert_with(|| task.to_owned())),
            _ => {}
        }
    }

    fn literal(&mut self, _: &str) {
        self.next = Next::Other;
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Json,
    /// Server-sent events, each of them JSON.
    Events,
}

/// Where in a line of server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// So many bytes of `data:` were there.
    Name(usize),
    Data,
    Skipped,
}

/// Reads an answer as it passes; whatever it does not understand it leaves alone.
#[derive(Debug)]
pub(crate) struct Observer {
    written: Written,
    facts: Facts,
    reader: Reader,
    line: Line,
    /// The document is no JSON, so the rest of it tells nothing.
    lost: bool,
}

impl Observer {
    pub(crate) fn new(binding: Binding, written: Written) -> Observer {
        let facts = Facts { binding, places: Vec::new(), next: Next::Other, learnt: Learnt::default() };
        Observer { written, facts, reader: Reader::default(), line: Line::Name(0), lost: false }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) {
        match self.written {
            Written::Json => self.document(bytes),
            Written::Events => self.events(bytes),
        }
    }

    pub(crate) fn learnt(&self) -> &Learnt {
        &self.facts.learnt
    }

    fn document(&mut self, bytes: &[u8]) {
        if !self.lost && !self.reader.is_done() {
            self.lost = self.reader.read(bytes, &mut self.facts).is_err();
        }
    }

    /// Lines end with a feed, before which a carriage return is white space.
    fn events(&mut self, mut bytes: &[u8]) {
        const DATA: &[u8] = b"data:";
        while let Some((first, rest)) = bytes.split_first() {
            match self.line {
                Line::Name(done) => {
                    self.line = match *first {
                        b'\n' if done == 0 => {
                            self.next_event();
                            Line::Name(0)
                        }
                        b'\n' => Line::Name(0),
                        b'\r' if done == 0 => Line::Name(0),
                        byte if DATA.get(done) != Some(&byte) => Line::Skipped,
                        _ if done + 1 == DATA.len() => Line::Data,
                        _ => Line::Name(done + 1),
                    };
                    bytes = rest;
                }
                Line::Data | Line::Skipped => {
                    let end = memchr::memchr(b'\n', bytes);
                    if self.line == Line::Data {
                        self.document(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
                    }
                    let Some(end) = end else { return };
                    self.line = Line::Name(0);
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                }
            }
        }
    }

    fn next_event(&mut self) {
        self.reader = Reader::default();
        self.facts.places.clear();
        self.facts.next = Next::Other;
        self.lost = false;
    }
}

/// A body that is observed, and tells once what was learnt: at its end, or when nobody wants the rest.
pub(crate) struct Observed<F: FnOnce(&Learnt) + Unpin> {
    body: Body,
    observer: Observer,
    tell: Option<F>,
}

impl<F: FnOnce(&Learnt) + Unpin + 'static> Observed<F> {
    pub(crate) fn body(body: Body, observer: Observer, tell: F) -> Body {
        Body::stream(Observed { body, observer, tell: Some(tell) })
    }
}

impl<F: FnOnce(&Learnt) + Unpin> Observed<F> {
    fn tell(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.observer.learnt());
        }
    }
}

impl<F: FnOnce(&Learnt) + Unpin> Drop for Observed<F> {
    fn drop(&mut self) {
        self.tell();
    }
}

impl<F: FnOnce(&Learnt) + Unpin> http_body::Body for Observed<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.observer.read(data);
                }
            }
            Some(Err(_)) | None => self.tell(),
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use http_body_util::BodyExt as _;

    use super::*;

    fn learnt(binding: Binding, written: Written, answer: &str, cut: usize) -> Learnt {
        let mut observer = Observer::new(binding, written);
        answer.as_bytes().chunks(cut).for_each(|piece| observer.read(piece));
        observer.learnt().clone()
    }

    #[test]
    fn states_of_both_versions_and_bindings() {
        let task = |state| Learnt { state: Some(state), task: Some("t".into()), is_error: false };
        let older = r#"{"id":1,"jsonrpc":"2.0","result":{"artifacts":[{"status":{"state":"no"}}],"history":[{"id":"no"}],
            "id":"t","kind":"task","metadata":{"status":{"state":"no"}},"status":{"message":{},"state":"input-required"}}}"#;
        let newer =
            r#"{"jsonrpc":"2.0","id":"1","result":{"task":{"id":"t","status":{"state":"TASK_STATE_COMPLETED"}}}}"#;
        let rest = r#"{"task":{"id":"t","status":{"state":"TASK_STATE_FAILED","timestamp":"x"}}}"#;
        for cut in [1, 3, 1000] {
            assert_eq!(learnt(Binding::JsonRpc, Written::Json, older, cut), task(TaskState::InputRequired));
            assert_eq!(learnt(Binding::JsonRpc, Written::Json, newer, cut), task(TaskState::Completed));
            assert_eq!(learnt(Binding::HttpJson, Written::Json, rest, cut), task(TaskState::Failed));
        }
        let message = r#"{"result":{"kind":"message","messageId":"m"}}"#;
        assert_eq!(learnt(Binding::JsonRpc, Written::Json, message, 4), Learnt::default());
        let error = r#"{"id":1,"error":{"code":-32001}}"#;
        assert!(learnt(Binding::JsonRpc, Written::Json, error, 4).is_error);
    }

    #[test]
    fn streams_end_with_the_last_state() {
        let stream = ": ping\r\n\r\nevent: x\r\ndata: {\"result\":{\"id\":\"t\",\"status\":{\"state\":\"submitted\"}}}\r\n\r\n\
            data: <garbage>\n\ndata:{\"result\":\ndata: {\"statusUpdate\":{\"taskId\":\"t\",\"status\":\ndata: {\"state\":\
            \"TASK_STATE_CANCELED\"}}}}\n\n";
        for cut in [1, 2, 7, 1000] {
            let learnt = learnt(Binding::JsonRpc, Written::Events, stream, cut);
            assert_eq!((learnt.state, learnt.task.as_deref()), (Some(TaskState::Canceled), Some("t")), "{cut}");
        }
    }

    #[tokio::test]
    async fn what_was_learnt_is_told_once() {
        let told = Rc::new(RefCell::new(Vec::new()));
        for read in [true, false] {
            let copy = Rc::clone(&told);
            let observer = Observer::new(Binding::HttpJson, Written::Json);
            let body = Body::from(Bytes::from_static(br#"{"status":{"state":"working"}}"#));
            let mut body = Observed::body(body, observer, move |learnt: &Learnt| copy.borrow_mut().push(learnt.state));
            if read {
                while body.frame().await.is_some() {}
            }
        }
        assert_eq!(*told.borrow(), [Some(TaskState::Working), None]);
    }
}
