//! An error as clients see it, in the shape of each API: of a provider, or of the gateway itself.

use bytes::Bytes;

use crate::json::{Json, Writer};
use crate::limits::MAX_ERROR_MESSAGE;
use crate::{Dialect, Framing};

/// What kind of error it is: decides the status and the names that the APIs have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// 400: the request is wrong.
    InvalidRequest,
    /// 400: a guard does not let it pass.
    Blocked,
    /// 401: no key, or a wrong one.
    Authentication,
    /// 402: the account or budget is used up.
    Billing,
    /// 403: not allowed, such as a model that this key may not use.
    Permission,
    /// 404: no such model or path.
    NotFound,
    /// 413: the body is too large.
    TooLarge,
    /// 429: too many requests or tokens.
    RateLimit,
    /// 500: the gateway or the provider failed.
    Internal,
    /// 502: the provider's answer cannot be used, or it cannot be reached.
    BadGateway,
    /// 503: the provider has no capacity (Anthropic's 529).
    Overloaded,
    /// 504: the provider did not answer in time.
    Timeout,
}

impl FaultKind {
    /// What a provider's status means.
    pub fn of_status(status: u16) -> FaultKind {
        match status {
            401 => FaultKind::Authentication,
            402 => FaultKind::Billing,
            403 => FaultKind::Permission,
            404 => FaultKind::NotFound,
            408 | 504 => FaultKind::Timeout,
            413 => FaultKind::TooLarge,
            429 => FaultKind::RateLimit,
            502 => FaultKind::BadGateway,
            503 | 529 => FaultKind::Overloaded,
            400..=499 => FaultKind::InvalidRequest,
            _ => FaultKind::Internal,
        }
    }

    /// The status of HTTP.
    pub fn status(self) -> u16 {
        match self {
            FaultKind::InvalidRequest | FaultKind::Blocked => 400,
            FaultKind::Authentication => 401,
            FaultKind::Billing => 402,
            FaultKind::Permission => 403,
            FaultKind::NotFound => 404,
            FaultKind::TooLarge => 413,
            FaultKind::RateLimit => 429,
            FaultKind::Internal => 500,
            FaultKind::BadGateway => 502,
            FaultKind::Overloaded => 503,
            FaultKind::Timeout => 504,
        }
    }

    /// OpenAI's `type`, and its `code` where it has one.
    fn openai(self) -> (&'static str, Option<&'static str>) {
        match self {
            FaultKind::InvalidRequest | FaultKind::TooLarge => ("invalid_request_error", None),
            FaultKind::Blocked => ("invalid_request_error", Some("content_filter")),
            FaultKind::Authentication => ("invalid_request_error", Some("invalid_api_key")),
            FaultKind::Billing => ("insufficient_quota", Some("insufficient_quota")),
            FaultKind::Permission => ("invalid_request_error", Some("permission_denied")),
            FaultKind::NotFound => ("invalid_request_error", Some("model_not_found")),
            FaultKind::RateLimit => ("requests", Some("rate_limit_exceeded")),
            FaultKind::Internal | FaultKind::BadGateway => ("server_error", None),
            FaultKind::Overloaded => ("server_error", Some("server_overloaded")),
            FaultKind::Timeout => ("server_error", Some("timeout")),
        }
    }

    fn anthropic(self) -> &'static str {
        match self {
            FaultKind::InvalidRequest | FaultKind::Blocked => "invalid_request_error",
            FaultKind::Authentication => "authentication_error",
            FaultKind::Billing => "billing_error",
            FaultKind::Permission => "permission_error",
            FaultKind::NotFound => "not_found_error",
            FaultKind::TooLarge => "request_too_large",
            FaultKind::RateLimit => "rate_limit_error",
            FaultKind::Internal | FaultKind::BadGateway => "api_error",
            FaultKind::Overloaded => "overloaded_error",
            FaultKind::Timeout => "timeout_error",
        }
    }

    /// Google's canonical codes (google.rpc.Code).
    fn google(self) -> &'static str {
        match self {
            FaultKind::InvalidRequest | FaultKind::Blocked | FaultKind::TooLarge => "INVALID_ARGUMENT",
            FaultKind::Authentication => "UNAUTHENTICATED",
            FaultKind::Permission => "PERMISSION_DENIED",
            FaultKind::NotFound => "NOT_FOUND",
            FaultKind::RateLimit | FaultKind::Billing => "RESOURCE_EXHAUSTED",
            FaultKind::Internal => "INTERNAL",
            FaultKind::BadGateway | FaultKind::Overloaded => "UNAVAILABLE",
            FaultKind::Timeout => "DEADLINE_EXCEEDED",
        }
    }

    /// Names of Bedrock's exceptions.
    fn bedrock(self) -> &'static str {
        match self {
            FaultKind::InvalidRequest | FaultKind::Blocked | FaultKind::TooLarge => "ValidationException",
            FaultKind::Authentication | FaultKind::Permission | FaultKind::Billing => "AccessDeniedException",
            FaultKind::NotFound => "ResourceNotFoundException",
            FaultKind::RateLimit => "ThrottlingException",
            FaultKind::Internal | FaultKind::BadGateway => "InternalServerException",
            FaultKind::Overloaded => "ServiceUnavailableException",
            FaultKind::Timeout => "ModelTimeoutException",
        }
    }
}

/// An error to be shown to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// For people.
    pub message: String,
    /// The member of the request that is at fault; OpenAI's APIs show it.
    pub param: Option<String>,
    /// A code of the provider's own that is passed on to clients of OpenAI's APIs, such as `context_length_exceeded`.
    pub code: Option<String>,
}

impl Fault {
    /// An error without a member at fault.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), param: None, code: None }
    }

    /// The body of a response with [`FaultKind::status`], in the shape of the client's API. Its content type is
    /// `application/json`.
    pub fn body(&self, client: Dialect) -> Bytes {
        let mut out = Vec::with_capacity(128 + self.message.len());
        self.write(client, &mut Writer::new(&mut out));
        out.into()
    }

    pub(crate) fn write(&self, client: Dialect, w: &mut Writer<'_>) {
        match client {
            Dialect::OpenAiChat | Dialect::OpenAiResponses => w.object(|w| {
                w.key("error").object(|w| {
                    let (kind, code) = self.kind.openai();
                    w.key("message").string(&self.message);
                    w.key("type").string(kind);
                    optional(w.key("param"), self.param.as_deref());
                    optional(w.key("code"), self.code.as_deref().or(code));
                });
            }),
            Dialect::AnthropicMessages => w.object(|w| {
                w.key("type").string("error");
                w.key("error").object(|w| {
                    w.key("type").string(self.kind.anthropic());
                    w.key("message").string(&self.message);
                });
                w.key("request_id").null();
            }),
            Dialect::Gemini => w.object(|w| {
                w.key("error").object(|w| {
                    w.key("code").u64(u64::from(self.kind.status()));
                    w.key("message").string(&self.message);
                    w.key("status").string(self.kind.google());
                });
            }),
            Dialect::BedrockConverse => w.object(|w| {
                w.key("__type").string(self.kind.bedrock());
                w.key("message").string(&self.message);
            }),
        }
    }

    /// The error as the last event of a stream that has begun; `sequence` is the number of the event (Responses), `first`
    /// whether nothing was sent before (JSON array).
    pub(crate) fn write_event(&self, client: Dialect, framing: Framing, sequence: u64, first: bool, out: &mut Vec<u8>) {
        match client {
            Dialect::OpenAiResponses => {
                out.extend_from_slice(b"event: error\ndata: ");
                Writer::new(out).object(|w| {
                    w.key("type").string("error");
                    optional(
                        w.key("code"),
                        Some(self.code.as_deref().or(self.kind.openai().1).unwrap_or("server_error")),
                    );
                    w.key("message").string(&self.message);
                    optional(w.key("param"), self.param.as_deref());
                    w.key("sequence_number").u64(sequence);
                });
                out.extend_from_slice(b"\n\n");
            }
            Dialect::AnthropicMessages => {
                out.extend_from_slice(b"event: error\ndata: ");
                self.write(client, &mut Writer::new(out));
                out.extend_from_slice(b"\n\n");
            }
            Dialect::Gemini if framing == Framing::JsonArray => {
                out.extend_from_slice(if first { b"[" } else { b",\r\n" });
                self.write(client, &mut Writer::new(out));
                out.extend_from_slice(b"]");
            }
            Dialect::OpenAiChat | Dialect::Gemini | Dialect::BedrockConverse => {
                out.extend_from_slice(b"data: ");
                self.write(client, &mut Writer::new(out));
                out.extend_from_slice(b"\n\n");
            }
        }
    }
}

/// Reads the error that a provider's body or event is, whichever API's shape it has.
pub(crate) fn from_error(body: &Json<'_>, kind: FaultKind) -> Fault {
    // Some wrap it in an array (Gemini's streams).
    let body = body.items().first().unwrap_or(body);
    let error = body.get("error");
    let message = [error.get("message"), body.get("message"), body.get("Message"), body.get("detail"), error]
        .into_iter()
        .find_map(|message| message.as_str().filter(|text| !text.is_empty()));
    let kind = match (error.get("type").as_str(), error.get("code")) {
        (Some("invalid_request_error"), _) => FaultKind::InvalidRequest,
        (Some("authentication_error"), _) => FaultKind::Authentication,
        (Some("billing_error" | "insufficient_quota"), _) => FaultKind::Billing,
        (Some("permission_error"), _) => FaultKind::Permission,
        (Some("not_found_error"), _) => FaultKind::NotFound,
        (Some("request_too_large"), _) => FaultKind::TooLarge,
        (Some("rate_limit_error" | "tokens" | "requests"), _) => FaultKind::RateLimit,
        (Some("overloaded_error"), _) => FaultKind::Overloaded,
        (Some("timeout_error"), _) => FaultKind::Timeout,
        (_, Json::String(code)) if code == "rate_limit_exceeded" => FaultKind::RateLimit,
        (_, Json::Number(code)) => {
            code.as_u64().and_then(|code| u16::try_from(code).ok()).map_or(kind, FaultKind::of_status)
        }
        _ => kind,
    };
    let mut text: String = message.unwrap_or("the provider gave no reason").to_owned();
    if text.len() > MAX_ERROR_MESSAGE {
        let end = (0..=MAX_ERROR_MESSAGE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    Fault {
        kind,
        message: text,
        param: error.get("param").as_str().map(str::to_owned),
        code: error.get("code").as_str().map(str::to_owned),
    }
}

fn optional(w: &mut Writer<'_>, text: Option<&str>) {
    match text {
        Some(text) => w.string(text),
        None => w.null(),
    }
}
