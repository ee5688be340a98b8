//! Sessions that stay with one endpoint, in the spelling of Gateway API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Requests of one session go to the endpoint that served its first one, while that is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// Name of the cookie or header; chosen by the gateway, one for each rule, by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub session_name: Option<String>,

    /// What carries the session; a cookie by default.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SessionType>,

    /// The session ends this long after its first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,

    /// The session ends this long after its last request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,

    /// Settings of the cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// What carries a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SessionType {
    /// A cookie that the gateway sets.
    #[default]
    Cookie,
    /// A header of responses, which clients repeat in their requests.
    Header,
}

/// Settings of a session's cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// How long clients keep the cookie; `Session` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetime>,
}

/// How long clients keep a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CookieLifetime {
    /// Until `absoluteTimeout`, which must be set.
    Permanent,
    /// Until the client's own session ends, such as when a browser is closed.
    #[default]
    Session,
}
