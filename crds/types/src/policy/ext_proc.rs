//! External processing: another service reads requests and responses, and may change them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, Size};

/// Sends requests and responses to another service that may change them, by Envoy's protocol
/// `envoy.service.ext_proc.v3.ExternalProcessor` over HTTP/2 without TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtProc {
    /// Host and port of the service.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// Which parts of requests and responses are sent. Headers alone by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<ProcessingMode>,

    /// Lets requests and responses pass as they are when the service fails. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,

    /// How long the answer to one message may take. `200ms` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_timeout: Option<Duration>,

    /// The longest time that the service may ask for instead. By default it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_timeout: Option<Duration>,

    /// The service may change the mode for one request. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_mode_override: Option<bool>,

    /// The service gets copies and changes nothing, and nobody waits for it. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability_mode: Option<bool>,

    /// CEL expressions whose values are sent with the first message about a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 4096)))]
    pub request_attributes: Vec<String>,

    /// CEL expressions whose values are sent with the first message about a response.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 4096)))]
    pub response_attributes: Vec<String>,

    /// Metadata that is sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_options: Option<MetadataOptions>,

    /// Which headers the service may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutation_rules: Option<MutationRules>,

    /// Largest body that is read whole. `1Mi` by default, up to `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<Size>,
}

/// Which parts of requests and responses are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessingMode {
    /// Headers of requests. `SEND` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_mode: Option<SendMode>,

    /// Headers of responses. `SEND` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_mode: Option<SendMode>,

    /// Bodies of requests. `NONE` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body_mode: Option<BodySendMode>,

    /// Bodies of responses. `NONE` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body_mode: Option<BodySendMode>,

    /// Trailers of requests. `SKIP` by default; with bodies `FULL_DUPLEX_STREAMED` they are sent always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_trailer_mode: Option<SendMode>,

    /// Trailers of responses. As of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_trailer_mode: Option<SendMode>,
}

/// Whether something is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SendMode {
    /// Headers are, trailers are not.
    #[default]
    Default,
    /// It is.
    Send,
    /// It is not.
    Skip,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BodySendMode {
    /// It is not.
    #[default]
    None,
    /// Piece by piece, each answered by what takes its place.
    Streamed,
    /// As a whole; a larger one is refused.
    Buffered,
    /// As a whole; of a larger one the beginning.
    BufferedPartial,
    /// Piece by piece, and the answers are another stream of pieces.
    FullDuplexStreamed,
}

/// Metadata that is sent along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOptions {
    /// What earlier policies left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<MetadataForwarding>,
}

/// What earlier policies left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataForwarding {
    /// Names in `metadata`; what stands there is sent where it is an object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256)))]
    pub untyped: Vec<String>,
}

/// Which headers the service may change. Those that frame a message (`Content-Length`, `Transfer-Encoding`, `Connection` ...) it
/// never may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MutationRules {
    /// Host and method of requests, too. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_routing: Option<bool>,

    /// Names of headers; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub allow: Vec<String>,

    /// Names of headers that it may not change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub deny: Vec<String>,

    /// Another change is a failure of the service, instead of being left out. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_is_error: Option<bool>,
}
