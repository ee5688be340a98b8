//! A client's message, as far as rules and metrics ask about it.
//!
//! Readers of JSON differ in what they make of a member that is there twice, or is written in another case: some take the first,
//! some the last, and those of Go take `Method` for `method`. What a rule allows must be what the agent does, so a message that
//! could be read in two ways is one that is [`Wrong`].

use crate::json::{NotJson, Reader, Sink, Text};

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whether it has a member that only JSON-RPC has.
    pub(crate) is_rpc: bool,
    pub(crate) method: Option<String>,
    /// As JSON.
    pub(crate) id: Option<String>,
    pub(crate) params_id: Option<String>,
    pub(crate) params_task: Option<String>,
    pub(crate) params_context: Option<String>,
    pub(crate) message_task: Option<String>,
    pub(crate) message_context: Option<String>,
    pub(crate) params_skill: Option<String>,
    pub(crate) message_skill: Option<String>,
}

/// Why a message is not one that a rule can be asked about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("the body is not JSON: {0}")]
    NotJson(#[from] NotJson),
    #[error("batches are not supported")]
    Batch,
    #[error("the message is not an object")]
    NotObject,
    #[error("the message has no method")]
    NoMethod,
    #[error("member {0} is there twice")]
    Twice(&'static str),
    #[error("member {0:?} is written as {1}")]
    Spelling(String, &'static str),
    #[error("member {0} is not {1}")]
    Type(&'static str, &'static str),
    #[error("member {0} is too long, or not text")]
    Unreadable(&'static str),
    #[error("the message names two skills")]
    TwoSkills,
    #[error("the path is one of HTTP+JSON, the message one of JSON-RPC")]
    TwoBindings,
}

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    JsonRpc,
    HttpJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Envelope,
    Params,
    Message,
    ParamsMetadata,
    MessageMetadata,
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Jsonrpc,
    Method,
    Id,
    Params,
    ParamsId,
    ParamsTask,
    ParamsContext,
    Message,
    ParamsMetadata,
    ParamsSkill,
    MessageTask,
    MessageContext,
    MessageMetadata,
    MessageSkill,
}

impl Member {
    /// The member of this name in its simplest form, and the spellings that agents read.
    fn of(place: Place, simple: &str) -> Option<(Member, &'static [&'static str])> {
        const TASK: &[&str] = &["taskId", "task_id"];
        const CONTEXT: &[&str] = &["contextId", "context_id"];
        const SKILL: &[&str] = &["skillId", "skill_id", "skill"];
        Some(match (place, simple) {
            (Place::Envelope, "jsonrpc") => (Member::Jsonrpc, &["jsonrpc"]),
            (Place::Envelope, "method") => (Member::Method, &["method"]),
            (Place::Envelope, "id") => (Member::Id, &["id"]),
            (Place::Envelope, "params") => (Member::Params, &["params"]),
            (Place::Params, "id") => (Member::ParamsId, &["id"]),
            (Place::Params, "taskid") => (Member::ParamsTask, TASK),
            (Place::Params, "contextid") => (Member::ParamsContext, CONTEXT),
            // `request` is what A2A 0.3 calls the message in its protobuf form.
            (Place::Params, "message" | "request") => (Member::Message, &["message", "request"]),
            (Place::Params, "metadata") => (Member::ParamsMetadata, &["metadata"]),
            (Place::Message, "taskid") => (Member::MessageTask, TASK),
            (Place::Message, "contextid") => (Member::MessageContext, CONTEXT),
            (Place::Message, "metadata") => (Member::MessageMetadata, &["metadata"]),
            (Place::ParamsMetadata, "skillid" | "skill") => (Member::ParamsSkill, SKILL),
            (Place::MessageMetadata, "skillid" | "skill") => (Member::MessageSkill, SKILL),
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Member::Jsonrpc => "jsonrpc",
            Member::Method => "method",
            Member::Id => "id",
            Member::Params => "params",
            Member::ParamsId => "params.id",
            Member::ParamsTask => "params.taskId",
            Member::ParamsContext => "params.contextId",
            Member::Message => "params.message",
            Member::ParamsMetadata => "params.metadata",
            Member::ParamsSkill => "params.metadata.skillId",
            Member::MessageTask => "params.message.taskId",
            Member::MessageContext => "params.message.contextId",
            Member::MessageMetadata => "params.message.metadata",
            Member::MessageSkill => "params.message.metadata.skillId",
        }
    }

    /// Where its own members are, if it is an object.
    fn inside(self) -> Option<Place> {
        Some(match self {
            Member::Params => Place::Params,
            Member::Message => Place::Message,
            Member::ParamsMetadata => Place::ParamsMetadata,
            Member::MessageMetadata => Place::MessageMetadata,
            _ => return None,
        })
    }
}

/// A name without case and underscores: `taskid` for `taskId`, `task_id` and `TASKID`. Go's readers also take the long s and the
/// sign of Kelvin for letters.
fn simple(name: &str) -> String {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    name.chars().filter(|c| *c != '_').map(fold).collect()
}

/// Reads a message as it arrives.
#[derive(Debug)]
pub(crate) struct Scan {
    reader: Reader,
    seen: Seen,
}

#[derive(Debug)]
struct Seen {
    binding: Binding,
    message: Message,
    wrong: Option<Wrong>,
    places: Vec<Place>,
    /// The member whose value comes next.
    member: Option<Member>,
    /// A bit for each member that was there.
    met: u32,
    /// `jsonrpc` or `method` in a message where they do not belong.
    is_rpc: bool,
}

impl Scan {
    pub(crate) fn new(binding: Binding) -> Scan {
        let seen = Seen {
            binding,
            message: Message::default(),
            wrong: None,
            places: Vec::new(),
            member: None,
            met: 0,
            is_rpc: false,
        };
        Scan { reader: Reader::default(), seen }
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// The first thing that is wrong; what was learnt before stays.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        self.reader.read(bytes, &mut self.seen)?;
        self.seen.wrong.clone().map_or(Ok(()), Err)
    }

    /// The message must be complete.
    pub(crate) fn end(&mut self) -> Result<(), Wrong> {
        self.reader.end(&mut self.seen)?;
        self.seen.wrong.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// What was learnt.
    pub(crate) fn into_message(self) -> Message {
        Message { is_rpc: self.seen.is_rpc, ..self.seen.message }
    }
}

impl Seen {
    fn wrong(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    fn root(&mut self, object: bool) -> Place {
        match (self.binding, object) {
            (Binding::JsonRpc, false) => self.wrong(Wrong::Batch),
            (Binding::HttpJson, false) => self.wrong(Wrong::NotObject),
            (Binding::JsonRpc, true) => return Place::Envelope,
            (Binding::HttpJson, true) => return Place::Params,
        }
        Place::Elsewhere
    }

    fn value(&mut self, value: Value<'_>) {
        let Some(member) = self.member.take() else {
            if self.places.is_empty() {
                self.wrong(Wrong::NotObject);
            }
            return;
        };
        if member == Member::Id {
            self.message.id = match value {
                Value::Text(Text::Whole(id)) => Some(serde_json::Value::from(id).to_string()),
                Value::Literal(id) if !id.is_empty() && !matches!(id, "true" | "false") => Some(id.to_owned()),
                Value::Text(Text::Unknown) | Value::Literal("") => return self.wrong(Wrong::Unreadable("id")),
                _ => return self.wrong(Wrong::Type("id", "a text or a number")),
            };
            return;
        }
        let message = &mut self.message;
        let slot = match member {
            Member::Method => &mut message.method,
            Member::ParamsId => &mut message.params_id,
            Member::ParamsTask => &mut message.params_task,
            Member::ParamsContext => &mut message.params_context,
            Member::ParamsSkill => &mut message.params_skill,
            Member::MessageTask => &mut message.message_task,
            Member::MessageContext => &mut message.message_context,
            Member::MessageSkill => &mut message.message_skill,
            Member::Id | Member::Jsonrpc => return,
            Member::Params | Member::Message | Member::ParamsMetadata | Member::MessageMetadata => {
                if value != Value::Literal("null") {
                    self.wrong(Wrong::Type(member.name(), "an object"));
                }
                return;
            }
        };
        match value {
            Value::Text(Text::Whole(text)) => *slot = Some(text.to_owned()).filter(|text| !text.is_empty()),
            Value::Literal("null") if member != Member::Method => {}
            Value::Text(Text::Unknown) => self.wrong(Wrong::Unreadable(member.name())),
            Value::Literal(_) | Value::Container => self.wrong(Wrong::Type(member.name(), "a text")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Text(Text<'a>),
    Literal(&'a str),
    Container,
}

impl Sink for Seen {
    fn open(&mut self, object: bool, _: usize) {
        let place = match self.member {
            _ if self.places.is_empty() => self.root(object),
            Some(member) => match member.inside().filter(|_| object) {
                Some(place) => {
                    self.member = None;
                    place
                }
                None => {
                    self.value(Value::Container);
                    Place::Elsewhere
                }
            },
            None => Place::Elsewhere,
        };
        self.places.push(place);
    }

    fn close(&mut self, _: usize) {
        self.places.pop();
    }

    fn name(&mut self, name: Text<'_>) {
        self.member = None;
        let place = *self.places.last().unwrap_or(&Place::Elsewhere);
        let Text::Whole(name) = name else { return };
        if place == Place::Elsewhere {
            return;
        }
        let simple = simple(name);
        if place == Place::Params && self.binding == Binding::HttpJson && matches!(&*simple, "jsonrpc" | "method") {
            self.is_rpc = true;
        }
        let Some((member, spellings)) = Member::of(place, &simple) else { return };
        if !spellings.contains(&name) {
            return self.wrong(Wrong::Spelling(name.to_owned(), spellings.first().unwrap_or(&"")));
        }
        let bit = 1 << member as u32;
        if self.met & bit != 0 {
            return self.wrong(Wrong::Twice(member.name()));
        }
        self.met |= bit;
        self.member = Some(member);
    }

    fn text(&mut self, text: Text<'_>, _: (usize, usize)) {
        self.value(Value::Text(text));
    }

    fn literal(&mut self, literal: &str) {
        self.value(Value::Literal(literal));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(binding: Binding, body: &str, cut: usize) -> Result<Message, Wrong> {
        let mut scan = Scan::new(binding);
        for piece in body.as_bytes().chunks(cut.max(1)) {
            scan.read(piece)?;
        }
        scan.end()?;
        Ok(scan.into_message())
    }

    fn rpc(body: &str) -> Result<Message, Wrong> {
        scan(Binding::JsonRpc, body, 5)
    }

    #[test]
    fn what_both_versions_say() {
        let older =
            rpc(r#"{"id":"a\"b","jsonrpc":"2.0","method":"message/send","params":{"metadata":{"x":{"skillId":"no"}},
            "message":{"kind":"message","parts":[{"kind":"data","data":{"taskId":"no","method":"no"}}],"taskId":"t",
            "contextId":"c","metadata":{"skillId":"weather"}}}}"#);
        let older = older.expect("a message");
        assert_eq!(older.method.as_deref(), Some("message/send"));
        assert_eq!(older.id.as_deref(), Some(r#""a\"b""#));
        assert_eq!((older.message_task.as_deref(), older.message_context.as_deref()), (Some("t"), Some("c")));
        assert_eq!((older.params_skill, older.message_skill.as_deref()), (None, Some("weather")));
        let newer =
            rpc(r#"{"jsonrpc":"2.0","id":1,"method":"CancelTask","params":{"id":"t","metadata":null,"tenant":"x"}}"#);
        let newer = newer.expect("a message");
        assert_eq!((newer.id.as_deref(), newer.params_id.as_deref()), (Some("1"), Some("t")));
        let rest = scan(Binding::HttpJson, r#"{"message":{"task_id":"t","context_id":""}}"#, 3).expect("a message");
        assert_eq!((rest.message_task.as_deref(), rest.message_context, rest.is_rpc), (Some("t"), None, false));
        let hidden = scan(Binding::HttpJson, r#"{"jsonrpc":"2.0","message":{}}"#, 3).expect("a message");
        assert!(hidden.is_rpc);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_wrong() {
        for (body, wrong) in [
            (r#"{"method":"tasks/get","method":"message/send"}"#, Wrong::Twice("method")),
            (r#"{"method":"tasks/get","meth\u006fd":"message/send"}"#, Wrong::Twice("method")),
            (r#"{"method":"tasks/get","Method":"message/send"}"#, Wrong::Spelling("Method".into(), "method")),
            (r#"{"method":"m","params":{"taſkId":"a"}}"#, Wrong::Spelling("taſkId".into(), "taskId")),
            (r#"{"method":"m","params":{"tas\u212aId":"a"}}"#, Wrong::Spelling("tas\u{212a}Id".into(), "taskId")),
            (r#"{"params":{},"params":{}}"#, Wrong::Twice("params")),
            (r#"{"params":{"taskId":"a","task_id":"b"}}"#, Wrong::Twice("params.taskId")),
            (r#"{"params":{"message":{},"message":{}}}"#, Wrong::Twice("params.message")),
            (
                r#"{"params":{"message":{"metadata":{"skill":"a","skillId":"b"}}}}"#,
                Wrong::Twice("params.message.metadata.skillId"),
            ),
            (r#"[{"method":"m"}]"#, Wrong::Batch),
            (r#""method""#, Wrong::NotObject),
            ("1", Wrong::NotObject),
            (r#"{"method":["message/send"]}"#, Wrong::Type("method", "a text")),
            (r#"{"method":null}"#, Wrong::Type("method", "a text")),
            (r#"{"method":"m","params":["a"]}"#, Wrong::Type("params", "an object")),
            (r#"{"params":{"id":7}}"#, Wrong::Type("params.id", "a text")),
            (r#"{"id":true}"#, Wrong::Type("id", "a text or a number")),
            (r#"{"id":{}}"#, Wrong::Type("id", "a text or a number")),
            (r#"{"method":"\ud800"}"#, Wrong::Unreadable("method")),
            (r#"{"a":1"#, Wrong::NotJson(NotJson::Incomplete)),
            ("<html>", Wrong::NotJson(NotJson::Unexpected(0))),
        ] {
            assert_eq!(rpc(body), Err(wrong), "{body}");
        }
        let long = format!(r#"{{"params":{{"id":"{}"}}}}"#, "x".repeat(2000));
        assert_eq!(rpc(&long), Err(Wrong::Unreadable("params.id")));
    }

    proptest! {
        /// Whatever is around them, and however it is cut: what is learnt is what serde learns, or the message is refused.
        #[test]
        fn nothing_is_smuggled(
            members in prop::collection::vec(
                (prop::sample::select(vec!["method", "Method", "id", "params", "METHOD", "x", "jsonrpc"]),
                 prop::sample::select(vec!["\"a\"", "\"b\"", "1", "null", "{}", "{\"id\":\"t\"}", "{\"id\":\"t\",\"id\":\"u\"}", "[]"])),
                0..6),
            cut in 1..12usize,
        ) {
            let body = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",");
            let body = format!("{{{body}}}");
            if let Ok(message) = scan(Binding::JsonRpc, &body, cut) {
                let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                prop_assert_eq!(value["method"].as_str(), message.method.as_deref());
                prop_assert_eq!(value["params"]["id"].as_str(), message.params_id.as_deref());
                let spelled = members.iter().filter(|(name, _)| name.eq_ignore_ascii_case("method")).count();
                prop_assert!(spelled <= 1);
            }
        }
    }
}
