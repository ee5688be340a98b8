//! A call of an agent, as rules, metrics and logs know it.

use agentgateway_expression::A2aCall;
use http::HeaderMap;

use crate::message::{Message, Wrong};
use crate::operation::Operation;
use crate::paths::Named;

/// `A2A-Version`.
const VERSION: &str = "a2a-version";

/// The version of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V0_3,
    V1_0,
    Other,
}

impl Version {
    pub(crate) const ALL: [Version; 3] = [Version::V0_3, Version::V1_0, Version::Other];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Version::V0_3 => "0.3",
            Version::V1_0 => "1.0",
            Version::Other => "other",
        }
    }

    /// A client that names none speaks 0.3, which had no such header. Patches do not count (A2A 1.0, "Versioning").
    pub(crate) fn of(headers: &HeaderMap) -> Version {
        let mut all = headers.get_all(VERSION).iter().map(|value| value.to_str().unwrap_or("?").trim());
        let version = all.next().unwrap_or_default();
        let mut parts = version.split('.');
        match (version, parts.next(), parts.next(), all.next()) {
            (_, _, _, Some(_)) => Version::Other,
            ("", ..) | (_, Some("0"), Some("3"), _) => Version::V0_3,
            (_, Some("1"), Some("0") | None, _) => Version::V1_0,
            _ => Version::Other,
        }
    }
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// What a client wrote, where that is no operation of A2A.
    pub(crate) method: Option<String>,
    pub(crate) version: Version,
    pub(crate) skill: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) context: Option<String>,
    /// Of its message over JSON-RPC, as JSON; None for what wants no answer.
    pub(crate) id: Option<String>,
}

impl Call {
    pub(crate) fn new(operation: Operation, version: Version) -> Call {
        Call { operation, method: None, version, skill: None, task: None, context: None, id: None }
    }

    /// Over JSON-RPC.
    pub(crate) fn of_message(message: Message, version: Version) -> Result<Call, Wrong> {
        let method = message.method.ok_or(Wrong::NoMethod)?;
        let (operation, is_older) = Operation::of_method(&method);
        let skill = skill(message.params_skill, message.message_skill)?;
        let task = match operation {
            Operation::SendMessage | Operation::SendStreamingMessage => message.message_task,
            Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask => message.params_id,
            Operation::CreateTaskPushNotificationConfig => message.params_task,
            Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig => {
                // In 1.0 `id` is that of the configuration.
                if is_older { message.params_id } else { message.params_task }
            }
            Operation::ListTasks | Operation::GetExtendedAgentCard | Operation::GetAgentCard => None,
            Operation::Other => message.params_task.or(message.message_task),
        };
        let context = if operation.is_message() { message.message_context } else { message.params_context };
        let method = (operation == Operation::Other).then_some(method);
        Ok(Call { method, skill, task, context, id: message.id, ..Call::new(operation, version) })
    }

    /// Over HTTP+JSON, with the body where there is one.
    pub(crate) fn of_request(named: Named, body: Option<Message>, version: Version) -> Result<Call, Wrong> {
        let call = Call { task: named.task, ..Call::new(named.operation, version) };
        let Some(message) = body else { return Ok(call) };
        let (task, context) = if named.operation.is_message() {
            (message.message_task, message.message_context)
        } else {
            (call.task, message.params_context)
        };
        let skill = skill(message.params_skill, message.message_skill)?;
        Ok(Call { operation: call.operation, method: None, version, skill, task, context, id: None })
    }

    /// As rules see it.
    pub(crate) fn input(&self) -> A2aCall<'_> {
        A2aCall {
            method: self.method.as_deref().unwrap_or(self.operation.as_str()),
            version: self.version.as_str(),
            skill: self.skill.as_deref(),
            task: self.task.as_deref(),
            context: self.context.as_deref(),
        }
    }
}

fn skill(of_params: Option<String>, of_message: Option<String>) -> Result<Option<String>, Wrong> {
    match (of_params, of_message) {
        (Some(one), Some(other)) if one != other => Err(Wrong::TwoSkills),
        (one, other) => Ok(one.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn versions() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(VERSION, HeaderValue::from_static(value));
            }
            Version::of(&headers)
        };
        assert_eq!(of(&[]), Version::V0_3);
        assert_eq!((of(&[""]), of(&["0.3"]), of(&["0.3.1"])), (Version::V0_3, Version::V0_3, Version::V0_3));
        assert_eq!((of(&["1.0"]), of(&["1.0.2"]), of(&["1"])), (Version::V1_0, Version::V1_0, Version::V1_0));
        assert_eq!((of(&["2.0"]), of(&["x"]), of(&["1.0", "0.3"])), (Version::Other, Version::Other, Version::Other));
    }

    #[test]
    fn the_task_of_a_call() {
        let call = |method: &str| {
            let text = |text: &str| Some(text.to_owned());
            let message = Message {
                method: text(method),
                params_id: text("id"),
                params_task: text("task"),
                message_task: text("in message"),
                ..Message::default()
            };
            Call::of_message(message, Version::V1_0).expect("a call").task
        };
        for (method, task) in [
            ("message/send", "in message"),
            ("SendStreamingMessage", "in message"),
            ("tasks/get", "id"),
            ("SubscribeToTask", "id"),
            ("tasks/pushNotificationConfig/set", "task"),
            ("tasks/pushNotificationConfig/get", "id"),
            ("GetTaskPushNotificationConfig", "task"),
            ("tasks/pushNotificationConfig/delete", "id"),
            ("DeleteTaskPushNotificationConfig", "task"),
        ] {
            assert_eq!(call(method).as_deref(), Some(task), "{method}");
        }
    }

    #[test]
    fn a_skill_is_one() {
        let of = |one: Option<&str>, other: Option<&str>| skill(one.map(Into::into), other.map(Into::into));
        assert_eq!(of(Some("a"), None), Ok(Some("a".into())));
        assert_eq!(of(Some("a"), Some("a")), Ok(Some("a".into())));
        assert_eq!(of(Some("a"), Some("b")), Err(Wrong::TwoSkills));
    }
}
