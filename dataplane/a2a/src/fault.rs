//! The gateway's own answers, in the shape of the binding.

use agentgateway_upstream::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::message::{Binding, Wrong};

/// Why the gateway answers in the agent's stead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Of JSON-RPC and A2A.
    code: i32,
    status: StatusCode,
    /// A status of gRPC, as HTTP+JSON writes it.
    word: &'static str,
    /// For programs, and the access log.
    pub(crate) reason: &'static str,
    message: String,
}

impl Fault {
    /// A rule does not allow the call.
    pub(crate) fn denied() -> Fault {
        Fault {
            code: -32000,
            status: StatusCode::FORBIDDEN,
            word: "PERMISSION_DENIED",
            reason: "a2a_denied",
            message: "permission denied: no rule allows this call".to_owned(),
        }
    }

    /// What the client sent cannot be read as rules must read it.
    pub(crate) fn wrong(wrong: &Wrong) -> Fault {
        let (code, reason) = match wrong {
            Wrong::NotJson(_) => (-32700, "a2a_not_json"),
            Wrong::Batch => (-32600, "a2a_batch"),
            Wrong::NotObject | Wrong::NoMethod | Wrong::TwoSkills => (-32600, "a2a_invalid_message"),
            Wrong::Twice(_) | Wrong::Spelling(..) | Wrong::TwoBindings => (-32600, "a2a_ambiguous_message"),
            Wrong::Type(..) | Wrong::Unreadable(_) => (-32602, "a2a_invalid_message"),
        };
        Fault::of_client(code, StatusCode::BAD_REQUEST, reason, wrong.to_string())
    }

    pub(crate) fn of_client(code: i32, status: StatusCode, reason: &'static str, message: impl Into<String>) -> Fault {
        Fault { code, status, word: "INVALID_ARGUMENT", reason, message: message.into() }
    }

    /// The agent's answer is none of A2A.
    pub(crate) fn bad_answer(message: impl Into<String>) -> Fault {
        Fault {
            code: -32006,
            status: StatusCode::BAD_GATEWAY,
            word: "INTERNAL",
            reason: "a2a_bad_answer",
            message: message.into(),
        }
    }

    /// The answer. Over JSON-RPC an error is a success of HTTP (A2A 1.0, "JSON-RPC Protocol Binding"); `id` is that of the message, as
    /// JSON.
    pub(crate) fn response(&self, binding: Binding, id: Option<&str>) -> Response<Body> {
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.reason.to_uppercase(),
            "domain": "agentgateway",
        }]);
        let (status, body) = match binding {
            Binding::JsonRpc => {
                let error = json!({"code": self.code, "message": self.message, "data": details});
                let id = id.unwrap_or("null");
                (StatusCode::OK, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
            }
            Binding::HttpJson => {
                let error = json!({"error": {
                    "code": self.status.as_u16(),
                    "status": self.word,
                    "message": self.message,
                    "details": details,
                }});
                (self.status, error.to_string())
            }
        };
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::whole;

    #[tokio::test]
    async fn answers_have_the_shape_of_their_binding() {
        let answer = Fault::denied().response(Binding::JsonRpc, Some("\"1\""));
        assert_eq!(answer.status(), StatusCode::OK);
        let body: serde_json::Value =
            serde_json::from_slice(&whole(answer.into_body(), 999).await.expect("fits")).expect("JSON");
        assert_eq!((&body["id"], &body["error"]["code"]), (&json!("1"), &json!(-32000)));
        assert_eq!(body["error"]["data"][0]["reason"], "A2A_DENIED");
        let answer = Fault::denied().response(Binding::HttpJson, None);
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let body: serde_json::Value =
            serde_json::from_slice(&whole(answer.into_body(), 999).await.expect("fits")).expect("JSON");
        assert_eq!((&body["error"]["code"], &body["error"]["status"]), (&json!(403), &json!("PERMISSION_DENIED")));
    }
}
