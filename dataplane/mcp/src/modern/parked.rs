//! Calls that wait for a client without a session to answer a target's question.
//!
//! The client gets the question as the call's result, with a state that names the waiting call; it sends the state back
//! with the answer. The state is encrypted and authenticated, and holds for the same caller alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::answer::{Answer, Message};
use crate::fault::Fault;
use crate::limits::{PARKED, PARKED_FOR, STREAM_QUEUE};
use crate::lock;
use crate::protocol::Method;
use crate::token::{self, NoRandom};

type Id = [u8; 16];

/// Messages of a target, read by a task of the worker that holds the connection.
pub(crate) type Pump = mpsc::Receiver<Result<Message, Fault>>;

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    /// The held session that it belongs to.
    pub(crate) session: Id,
    /// Place and name of the target.
    pub(crate) target: (usize, Arc<str>),
    pub(crate) method: Method,
    /// Id of the call at the target, as written.
    pub(crate) own_id: Box<str>,
    /// The target's question: its id and method as written, and its params.
    pub(crate) question: Question,
    pub(crate) rest: Pump,
}

#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) id: Box<str>,
    pub(crate) method: Box<str>,
    pub(crate) params: Option<Box<str>>,
}

/// All that wait in this process.
#[derive(Debug, Default)]
pub(crate) struct Lot(Mutex<HashMap<Id, (Instant, Parked)>>);

impl Lot {
    /// Keeps a call; nothing when there are too many.
    pub(crate) fn put(&self, call: Parked) -> Result<Option<Id>, NoRandom> {
        let id = token::random()?;
        let mut all = lock(&self.0);
        if all.len() >= PARKED {
            return Ok(None);
        }
        all.insert(id, (Instant::now(), call));
        Ok(Some(id))
    }

    /// Takes a call of this session out.
    pub(crate) fn take(&self, id: &Id, session: &Id) -> Option<Parked> {
        let mut all = lock(&self.0);
        if all.get(id)?.1.session != *session {
            return None;
        }
        all.remove(id).map(|(_, call)| call)
    }

    /// Gives up the calls that nobody came back for.
    pub(crate) fn sweep(&self) {
        lock(&self.0).retain(|_, (since, call)| since.elapsed() < PARKED_FOR && !call.rest.is_closed());
    }
}

/// Reads the rest of an answer in a task of this worker, so that any worker may go on with it.
pub(crate) fn pump(mut answer: Answer) -> Pump {
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    tokio::task::spawn_local(async move {
        loop {
            let next = tokio::select! {
                next = answer.next() => next,
                () = sender.closed() => return,
            };
            let message = match next {
                Ok(Some(message)) => Ok(message),
                Ok(None) => Err(answer.unfinished()),
                Err(fault) => Err(fault),
            };
            let is_last = message.is_err();
            if sender.send(message).await.is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(session: u8) -> (mpsc::Sender<Result<Message, Fault>>, Parked) {
        let (sender, rest) = mpsc::channel(1);
        let question = Question { id: "1".into(), method: "roots/list".into(), params: None };
        let (target, own_id) = ((0, "t".into()), "\"a\"".into());
        (sender, Parked { session: [session; 16], target, method: Method::ToolsCall, own_id, question, rest })
    }

    #[test]
    fn each_call_is_taken_once_and_by_its_own_session() {
        let lot = Lot::default();
        let (_open, one) = call(1);
        let id = lot.put(one).unwrap().unwrap();
        assert!(lot.take(&id, &[2; 16]).is_none());
        assert!(lot.take(&id, &[1; 16]).is_some());
        assert!(lot.take(&id, &[1; 16]).is_none());
    }

    #[test]
    fn there_is_a_limit() {
        let lot = Lot::default();
        let mut open = Vec::new();
        for _ in 0..PARKED {
            let (sender, one) = call(1);
            open.push(sender);
            assert!(lot.put(one).unwrap().is_some());
        }
        assert!(lot.put(call(1).1).unwrap().is_none());
    }
}
