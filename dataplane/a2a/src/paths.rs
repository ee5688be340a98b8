//! Which operation a path of the HTTP+JSON binding is.
//!
//! Agents mount the binding wherever they like (0.3 below `/v1`, 1.0 at the root or below a tenant), so paths are read from their end.

use http::Method;

use crate::operation::Operation;

/// An operation that the path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) operation: Operation,
    pub(crate) task: Option<String>,
}

/// Whether the path is that of a public card, under the name of today or that of A2A 0.2.
pub(crate) fn is_card(path: &str) -> bool {
    path.ends_with("/.well-known/agent-card.json") || path.ends_with("/.well-known/agent.json")
}

/// The operation of a request, and its task; None where it is none of this binding.
pub(crate) fn operation(method: &Method, path: &str) -> Option<Named> {
    let named = |operation| Some(Named { operation, task: None });
    let of_task = |operation, task: &str| (!task.is_empty()).then(|| Named { operation, task: Some(task.to_owned()) });
    let decoded: Vec<String> = path.trim_end_matches('/').split('/').map(decode).collect();
    let mut ends = decoded.iter().rev().map(String::as_str);
    let mut next = || ends.next().unwrap_or_default();
    let (last, second, third, fourth) = (next(), next(), next(), next());
    let is = |wanted: Method| *method == wanted;
    let reads = is(Method::GET) || is(Method::HEAD);
    match (last, second) {
        ("message:send", _) if is(Method::POST) => return named(Operation::SendMessage),
        ("message:stream", _) if is(Method::POST) => return named(Operation::SendStreamingMessage),
        ("extendedAgentCard", _) if reads => return named(Operation::GetExtendedAgentCard),
        // Of 0.3, over HTTP+JSON and beside JSON-RPC.
        ("card", "v1") | ("authenticatedExtendedCard", "agent") if reads => {
            return named(Operation::GetExtendedAgentCard);
        }
        _ => {}
    }
    match (last, second, third, fourth) {
        ("pushNotificationConfigs", task, "tasks", _) if is(Method::POST) => {
            of_task(Operation::CreateTaskPushNotificationConfig, task)
        }
        ("pushNotificationConfigs", task, "tasks", _) if reads => {
            of_task(Operation::ListTaskPushNotificationConfigs, task)
        }
        (_, "pushNotificationConfigs", task, "tasks") if reads => {
            of_task(Operation::GetTaskPushNotificationConfig, task)
        }
        (_, "pushNotificationConfigs", task, "tasks") if is(Method::DELETE) => {
            of_task(Operation::DeleteTaskPushNotificationConfig, task)
        }
        (task, "tasks", ..) => match task.rsplit_once(':') {
            Some((task, "cancel")) if is(Method::POST) => of_task(Operation::CancelTask, task),
            Some((task, "subscribe")) if reads || is(Method::POST) => of_task(Operation::SubscribeToTask, task),
            _ if reads => of_task(Operation::GetTask, task),
            _ => None,
        },
        ("tasks", ..) if reads => named(Operation::ListTasks),
        _ => None,
    }
}

/// Whether an agent may see other segments in the path than the gateway.
pub(crate) fn is_ambiguous(path: &str) -> bool {
    path.contains("//")
        || path.as_bytes().windows(3).any(|w| matches!(w, [b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C']))
}

/// The value of a parameter of the query that may be there once.
pub(crate) fn parameter<'q>(query: Option<&'q str>, names: &[&str]) -> Result<Option<String>, &'static str> {
    let is_named = |pair: &&'q str| names.contains(&&*decode(pair.split('=').next().unwrap_or_default()));
    let mut found = query.unwrap_or_default().split('&').filter(is_named);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err("contextId is there twice"),
        (Some(pair), None) => {
            let value = pair.split_once('=').map_or("", |(_, value)| value).replace('+', " ");
            Ok(Some(decode(&value)).filter(|value| !value.is_empty()))
        }
        (None, None) => Ok(None),
    }
}

/// A text without its percent encoding; what is none stays as it is.
fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digit =
            |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_both_versions() {
        for (method, path, operation, task) in [
            ("POST", "/v1/message:send", Operation::SendMessage, None),
            ("POST", "/a/b/message%3Astream/", Operation::SendStreamingMessage, None),
            ("GET", "/v1/tasks/t-1", Operation::GetTask, Some("t-1")),
            ("GET", "/tenant/tasks", Operation::ListTasks, None),
            ("POST", "/tasks/a:b:cancel", Operation::CancelTask, Some("a:b")),
            ("GET", "/v1/tasks/t:subscribe", Operation::SubscribeToTask, Some("t")),
            ("POST", "/tasks/t:subscribe", Operation::SubscribeToTask, Some("t")),
            ("POST", "/tasks/t/pushNotificationConfigs", Operation::CreateTaskPushNotificationConfig, Some("t")),
            ("GET", "/tasks/t/pushNotificationConfigs", Operation::ListTaskPushNotificationConfigs, Some("t")),
            ("GET", "/tasks/t/pushNotificationConfigs/c", Operation::GetTaskPushNotificationConfig, Some("t")),
            ("DELETE", "/tasks/t/pushNotificationConfigs/c", Operation::DeleteTaskPushNotificationConfig, Some("t")),
            ("GET", "/v1/card", Operation::GetExtendedAgentCard, None),
            ("GET", "/x/extendedAgentCard", Operation::GetExtendedAgentCard, None),
            ("GET", "/agent/authenticatedExtendedCard", Operation::GetExtendedAgentCard, None),
            ("GET", "/tasks/a%20b", Operation::GetTask, Some("a b")),
        ] {
            let named = self::operation(&method.parse().expect("a method"), path).expect(path);
            assert_eq!((named.operation, named.task.as_deref()), (operation, task), "{method} {path}");
        }
        for (method, path) in [
            ("POST", "/"),
            ("GET", "/message:send"),
            ("POST", "/tasks/t"),
            ("DELETE", "/tasks/t"),
            ("GET", "/card"),
            ("POST", "/tasks/:cancel"),
            ("GET", "/"),
        ] {
            assert_eq!(self::operation(&method.parse().expect("a method"), path), None, "{method} {path}");
        }
    }

    #[test]
    fn what_an_agent_may_read_otherwise_is_told() {
        assert!(
            is_ambiguous("/tasks/a%2FpushNotificationConfigs") && is_ambiguous("//tasks") && is_ambiguous("/a%5cb")
        );
        assert!(!is_ambiguous("/tasks/a%20b:cancel"));
        assert_eq!(parameter(Some("a=1&contextId=c%2Fd+e"), &["contextId"]), Ok(Some("c/d e".into())));
        assert_eq!(parameter(Some("contextId="), &["contextId"]), Ok(None));
        assert!(parameter(Some("contextId=a&context_id=b"), &["contextId", "context_id"]).is_err());
    }
}
