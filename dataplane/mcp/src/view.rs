//! What a client of a federation sees of a target's messages, and what a target gets to see of the client's: names,
//! URIs, request ids and progress tokens are exchanged in place, all other bytes stay.

use std::borrow::Cow;

use crate::call::Call;
use crate::jsonrpc::{self, Envelope, Kind, members, quote, string};
use crate::naming::Naming;
use crate::protocol::Method;
use crate::splice::Splice;
use crate::target::Target;

/// A request or notification of a target, for the client.
pub(crate) fn from_target(call: &Call, target: &Target, text: String) -> String {
    if !call.federated() {
        return text;
    }
    let edited = {
        let Ok(envelope) = Envelope::parse(&text) else { return text };
        let mut splice = Splice::new(&text);
        match (envelope.kind, Method::parse(envelope.method())) {
            (Kind::Request, _) => {
                if let Some(id) = envelope.id {
                    splice.replace(id, quote(&Naming::tag(target.index, id)));
                }
                let token = envelope.params.and_then(|params| member(params, ["_meta", "progressToken"]));
                if let Some(token) = token {
                    splice.replace(token, quote(&Naming::tag(target.index, token)));
                }
            }
            (Kind::Notification, Method::Cancelled) => {
                if let Some(id) = envelope.params.and_then(|params| member(params, ["requestId"])) {
                    splice.replace(id, quote(&Naming::tag(target.index, id)));
                }
            }
            (Kind::Notification, Method::ResourcesUpdated) => {
                if let Some(params) = envelope.params {
                    federate_uri(call, target, &mut splice, params);
                }
            }
            _ => {}
        }
        (!splice.is_empty()).then(|| splice.finish())
    };
    edited.unwrap_or(text)
}

/// A target's response to a call, prompt or read, for the client: links to resources and their contents carry the
/// federation's URIs.
pub(crate) fn response(call: &Call, target: &Target, method: Method, text: String) -> String {
    if !call.federated() || !text.contains("\"uri\"") {
        return text;
    }
    let edited = {
        let Ok(envelope) = Envelope::parse(&text) else { return text };
        let Some(result) = envelope.result else { return text };
        let mut splice = Splice::new(&text);
        match method {
            Method::ResourcesRead => {
                for content in member(result, ["contents"]).and_then(|c| jsonrpc::items(c).ok()).unwrap_or_default() {
                    federate_uri(call, target, &mut splice, content);
                }
            }
            Method::ToolsCall => {
                for content in member(result, ["content"]).and_then(|c| jsonrpc::items(c).ok()).unwrap_or_default() {
                    federate_content(call, target, &mut splice, content);
                }
            }
            Method::PromptsGet => {
                for message in member(result, ["messages"]).and_then(|m| jsonrpc::items(m).ok()).unwrap_or_default() {
                    if let Some(content) = member(message, ["content"]) {
                        federate_content(call, target, &mut splice, content);
                    }
                }
            }
            _ => {}
        }
        (!splice.is_empty()).then(|| splice.finish())
    };
    edited.unwrap_or(text)
}

fn federate_content(call: &Call, target: &Target, splice: &mut Splice<'_>, content: &str) {
    match member(content, ["type"]) {
        Some(r#""resource_link""#) => federate_uri(call, target, splice, content),
        Some(r#""resource""#) => {
            if let Some(resource) = member(content, ["resource"]) {
                federate_uri(call, target, splice, resource);
            }
        }
        _ => {}
    }
}

fn federate_uri(call: &Call, target: &Target, splice: &mut Splice<'_>, object: &str) {
    if let Some(raw) = member(object, ["uri"])
        && let Ok(uri) = string(raw)
    {
        splice.replace(raw, quote(&call.backend.naming.uri(target.index, &uri)));
    }
}

/// The member of nested objects that `path` leads to, as written.
pub(crate) fn member<'a, const N: usize>(text: &'a str, path: [&'static str; N]) -> Option<&'a str> {
    path.into_iter().try_fold(text, |text, name| {
        let [found] = members(text, [name]).ok()?;
        found
    })
}

/// A client's message whose tagged id or token `raw` names a target: the target's place, and the message for it.
pub(crate) fn untagged(text: &str, raw: &str) -> Option<(usize, String)> {
    let tagged: Cow<'_, str> = string(raw).ok()?;
    let (target, own) = Naming::untag(&tagged)?;
    // What a client makes up must not become anything but one JSON value in the message.
    let value: serde_json::Value = serde_json::from_str(own).ok()?;
    if !(value.is_string() || value.is_number()) {
        return None;
    }
    let mut splice = Splice::new(text);
    splice.replace(raw, own.to_owned());
    Some((target, splice.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_target() {
        let text = r#"{"jsonrpc":"2.0","id":"1|\"a\"","result":{}}"#;
        let id = Envelope::parse(text).unwrap().id.unwrap();
        assert_eq!(untagged(text, id), Some((1, r#"{"jsonrpc":"2.0","id":"a","result":{}}"#.to_owned())));
        for made_up in [r#""1|{}""#, r#""1|1,\"result\":2""#, r#""1|""#, r#""x""#, "7"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{made_up},"result":{{}}}}"#);
            let id = Envelope::parse(&text).unwrap().id.unwrap();
            assert_eq!(untagged(&text, id), None, "{made_up}");
        }
    }
}
