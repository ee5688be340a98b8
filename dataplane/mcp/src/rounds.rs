//! A client with a session in front of a target of the stateless protocol.
//!
//! The target is told with each request what the client said in its handshake. Where the target's answer is that it
//! needs to know something first, the client is asked on the stream of its request, as its protocol has it, and the
//! target is asked again with the client's answers.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

use crate::answer::{Answer, Message};
use crate::call::Call;
use crate::exchange::{self, How};
use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope, members, quote, string};
use crate::limits::{ROUND_QUESTIONS, ROUNDS, STREAM_QUEUE};
use crate::modern::parked::Pump;
use crate::modern::translate::with_members;
use crate::protocol::{Method, meta};
use crate::splice::Splice;
use crate::target::Target;
use crate::view;

/// What a request of a client with a session is, for a target of the stateless protocol.
pub(crate) fn dressed(call: &Call, target: &Target, text: &str) -> Option<String> {
    let envelope = Envelope::parse(text).ok()?;
    let mut own = call.session.meta_members();
    let level = call.session.wishes.of(&target.name).into_iter().find(|wish| wish.method == Method::SetLevel);
    if let Some(level) = level.as_ref().and_then(|wish| view::member(&wish.params, ["level"])) {
        own.push_str(&format!(r#","{}":{level}"#, meta::LOG_LEVEL));
    }
    let mut splice = Splice::new(text);
    match envelope.params {
        None => {
            let method = quote(envelope.method());
            let id = envelope.id.unwrap_or("null");
            return Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{{"_meta":{{{own}}}}}}}"#));
        }
        Some(params) => match view::member(params, ["_meta"]) {
            Some(theirs) if theirs.starts_with('{') => splice.replace(theirs, with_members(theirs, &own)),
            Some(theirs) => splice.replace(theirs, format!("{{{own}}}")),
            None => splice.replace(params, with_members(params, &format!(r#""_meta":{{{own}}}"#))),
        },
    }
    Some(splice.finish())
}

/// Sends a request, whose text is `message`, and gives all that comes of it as one answer.
pub(crate) async fn request(call: &Rc<Call>, target: &Arc<Target>, message: &Bytes, how: How) -> Result<Answer, Fault> {
    let text = std::str::from_utf8(message).unwrap_or_default();
    let invalid = || Fault::new(&target.name, Kind::Protocol, "was not asked: the request cannot be read");
    let dressed = dressed(call, target, text).ok_or_else(invalid)?;
    let raw = exchange::request(call, target, &Bytes::from(dressed.clone()), how).await?;
    let answer = raw.into_answer(target, call.io.shared.limits.message_bytes);
    if !matches!(how.method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead) {
        return Ok(answer);
    }
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let rounds = Rounds { call: Rc::clone(call), target: Arc::clone(target), request: dressed, how, sender };
    tokio::task::spawn_local(rounds.run(answer));
    let pump: Pump = receiver;
    Ok(Answer::from_pump(target, pump))
}

struct Rounds {
    call: Rc<Call>,
    target: Arc<Target>,
    /// The request as it was sent first.
    request: String,
    how: How,
    sender: mpsc::Sender<Result<Message, Fault>>,
}

/// A target's answer that it needs to know something first.
struct Needed {
    questions: BTreeMap<String, Question>,
    /// As written.
    state: Option<String>,
}

#[derive(serde::Deserialize)]
struct Question {
    method: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

impl Rounds {
    async fn run(self, answer: Answer) {
        let sender = self.sender.clone();
        tokio::select! {
            result = self.all(answer) => if let Err(fault) = result {
                // Nobody listens any more when this fails.
                drop(sender.send(Err(fault)).await);
            },
            // The client is gone; with the target's answer dropped, so is the call.
            () = sender.closed() => {}
        }
    }

    async fn all(&self, mut answer: Answer) -> Result<(), Fault> {
        for _ in 0..ROUNDS {
            let needed = loop {
                let Some(message) = answer.next().await? else { return Err(answer.unfinished()) };
                match needed(&message.text).map_err(|why| self.protocol(&why))? {
                    Some(needed) => break needed,
                    None => {
                        let is_last = is_response(&message.text);
                        drop(self.sender.send(Ok(message)).await);
                        if is_last {
                            return Ok(());
                        }
                    }
                }
            };
            let answers = self.ask(needed.questions).await?;
            let message = self.again(&answers, needed.state.as_deref())?;
            let raw = exchange::request(&self.call, &self.target, &message, self.how).await?;
            answer = raw.into_answer(&self.target, self.call.io.shared.limits.message_bytes);
        }
        Err(self.protocol(&format!("asked the client more than {ROUNDS} times")))
    }

    fn protocol(&self, why: &str) -> Fault {
        Fault::new(&self.target.name, Kind::Protocol, why.to_owned())
    }

    /// Asks the client all questions of a round at once.
    async fn ask(&self, questions: BTreeMap<String, Question>) -> Result<Map<String, Value>, Fault> {
        let session = &self.call.session;
        let mut waiting = Vec::new();
        for (name, question) in questions {
            let id = session.next_id();
            let params = question.params.as_ref().map_or("{}", |params| params.get());
            let text = String::from_utf8_lossy(&jsonrpc::request(&id, &question.method, params)).into_owned();
            let (sender, receiver) = oneshot::channel();
            let expected = session.expect(&id, sender);
            drop(self.sender.send(Ok(Message { text, ..Message::default() })).await);
            waiting.push((name, receiver, expected));
        }
        let mut answers = Map::new();
        let patience = self.call.io.shared.limits.call;
        for (name, receiver, _expected) in waiting {
            let text = match tokio::time::timeout(patience, receiver).await {
                Ok(Ok(text)) => text,
                Ok(Err(_)) | Err(_) => return Err(self.protocol("asked the client something, and got no answer")),
            };
            let envelope = Envelope::parse(&text).map_err(|e| self.protocol(&e.to_string()))?;
            if let Some(error) = envelope.error {
                let message = format!("asked the client something, which was refused: {error}");
                return Err(Fault::new(&self.target.name, Kind::Rpc(error.into()), message));
            }
            let value = serde_json::from_str(envelope.result.unwrap_or("{}")).unwrap_or_else(|_| json!({}));
            answers.insert(name, value);
        }
        Ok(answers)
    }

    /// The first request once more, with what the client answered.
    fn again(&self, answers: &Map<String, Value>, state: Option<&str>) -> Result<Bytes, Fault> {
        let envelope = Envelope::parse(&self.request).map_err(|e| self.protocol(&e.to_string()))?;
        let params = envelope.params.unwrap_or("{}");
        let mut more = format!(r#""inputResponses":{}"#, Value::Object(answers.clone()));
        if let Some(state) = state {
            more.push_str(&format!(r#","requestState":{state}"#));
        }
        let mut splice = Splice::new(&self.request);
        splice.replace(params, with_members(params, &more));
        Ok(Bytes::from(splice.finish()))
    }
}

fn is_response(text: &str) -> bool {
    Envelope::parse(text).is_ok_and(|envelope| envelope.kind == jsonrpc::Kind::Response)
}

/// What a message asks for, when it is a response that does.
fn needed(text: &str) -> Result<Option<Needed>, String> {
    if !text.contains("input_required") {
        return Ok(None);
    }
    let Ok(envelope) = Envelope::parse(text) else { return Ok(None) };
    let Some(result) = envelope.result else { return Ok(None) };
    let [kind, questions, state] =
        members(result, ["resultType", "inputRequests", "requestState"]).map_err(|e| e.to_string())?;
    if kind.and_then(|k| string(k).ok()).as_deref() != Some("input_required") {
        return Ok(None);
    }
    let questions: BTreeMap<String, Question> =
        serde_json::from_str(questions.unwrap_or("{}")).map_err(|e| format!("asked the client badly: {e}"))?;
    if questions.len() > ROUND_QUESTIONS {
        return Err(format!("asked the client more than {ROUND_QUESTIONS} questions at once"));
    }
    Ok(Some(Needed { questions, state: state.map(str::to_owned) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_found() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}},"requestState":"s"}}"#;
        let found = needed(text).unwrap().unwrap();
        assert_eq!(found.questions["a"].method, "roots/list");
        assert_eq!(found.state.as_deref(), Some("\"s\""));
        for other in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":"input_required"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"input_required"}}"#,
        ] {
            assert!(needed(other).unwrap().is_none());
        }
    }
}
