//! Messages for a client that belong to none of its requests: they wait for the stream that it opens by GET.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::mpsc;

use crate::limits::{BACKLOG, BACKLOG_BYTES, STREAM_QUEUE};
use crate::lock;

/// A message, and the place of the target that it came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// None for messages of the gateway itself.
    pub(crate) target: Option<usize>,
    pub(crate) text: String,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stream: Option<mpsc::Sender<Letter>>,
    backlog: VecDeque<Letter>,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn push(&self, target: usize, text: String) {
        self.put(Letter { target: Some(target), text });
    }

    pub(crate) fn push_own(&self, text: String) {
        self.put(Letter { target: None, text });
    }

    fn put(&self, letter: Letter) {
        let mut state = lock(&self.0);
        let letter = match &state.stream {
            None => letter,
            Some(stream) => match stream.try_send(letter) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::debug!("a client reads its stream too slowly: a message was dropped");
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(letter)) => {
                    state.stream = None;
                    letter
                }
            },
        };
        // The oldest go first: of repeated "list changed" and log messages the last ones matter.
        state.bytes += letter.text.len();
        state.backlog.push_back(letter);
        while state.backlog.len() > BACKLOG || state.bytes > BACKLOG_BYTES {
            let Some(oldest) = state.backlog.pop_front() else { break };
            state.bytes -= oldest.text.len();
        }
    }

    /// Opens the stream, with what was kept first. A stream that was open before ends: its client is most likely gone.
    pub(crate) fn open(&self) -> mpsc::Receiver<Letter> {
        let (sender, receiver) = mpsc::channel(STREAM_QUEUE.max(BACKLOG));
        let mut state = lock(&self.0);
        for letter in std::mem::take(&mut state.backlog) {
            // There is room for all: the channel is larger than the backlog.
            drop(sender.try_send(letter));
        }
        state.bytes = 0;
        state.stream = Some(sender);
        receiver
    }

    /// Ends the stream.
    pub(crate) fn close(&self) {
        *lock(&self.0) = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_sent_first() {
        let outbox = Outbox::default();
        for n in 0..BACKLOG + 5 {
            outbox.push(0, n.to_string());
        }
        let mut stream = outbox.open();
        outbox.push_own("own".into());
        assert_eq!(stream.recv().await.unwrap().text, "5");
        for _ in 1..BACKLOG {
            stream.recv().await.unwrap();
        }
        assert_eq!(stream.recv().await.unwrap(), Letter { target: None, text: "own".into() });
    }

    #[tokio::test]
    async fn a_second_stream_takes_over() {
        let outbox = Outbox::default();
        let mut first = outbox.open();
        let mut second = outbox.open();
        assert!(first.recv().await.is_none());
        outbox.push(1, "x".into());
        assert_eq!(second.recv().await.unwrap().target, Some(1));
        drop(second);
        outbox.push(1, "kept".into());
        assert_eq!(outbox.open().recv().await.unwrap().text, "kept");
    }

    #[test]
    fn bytes_are_bounded() {
        let outbox = Outbox::default();
        outbox.push(0, "x".repeat(BACKLOG_BYTES));
        outbox.push(0, "y".into());
        assert_eq!(lock(&outbox.0).backlog.len(), 1);
    }
}
