//! Rate limits that all proxies share: another service counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rate_limit::{RateLimitHeaders, RateLimitUnit, TokenBucket};
use super::source::TextSource;
use crate::Duration;
use crate::file::BackendTls;

/// A limit that all proxies share: one of envoy and redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GlobalRateLimit {
    /// A service that speaks Envoy's rate limit protocol, `envoy.service.ratelimit.v3.RateLimitService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy: Option<EnvoyRateLimit>,

    /// Token buckets kept in Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisRateLimit>,

    /// How long an answer may take. `100ms` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,

    /// Lets requests pass when the service cannot be asked. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,

    /// Whether every response says how much is left. `Off` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_rate_limit_headers: Option<RateLimitHeaders>,
}

/// A service that speaks Envoy's rate limit protocol. What is allowed is its own configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyRateLimit {
    /// Host and port of the service.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// Encrypts the connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,

    /// Which part of its configuration holds.
    #[schemars(length(min = 1, max = 253))]
    pub domain: String,

    /// What it is asked about, all with one question.
    #[schemars(length(min = 1, max = 16))]
    pub descriptors: Vec<RateLimitDescriptor>,
}

/// What a request is counted as: a list of keys and values, which the service's configuration names. One of which an entry has no
/// value is not asked about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.cost) || !has(self.unit) || self.unit == 'Requests'", "message": "cost is for requests" }
]))]
pub struct RateLimitDescriptor {
    /// Keys and values.
    #[schemars(length(min = 1, max = 16))]
    pub entries: Vec<RateLimitEntry>,

    /// What is counted. `Requests` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<RateLimitUnit>,

    /// CEL expression for what a request costs, a whole number. A request for which it has no value is refused. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cost: Option<String>,
}

/// A key and its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "(self.type == 'Generic') == has(self.generic)", "message": "generic must be set when type is Generic, and only then" },
    { "rule": "(self.type == 'Header') == has(self.header)", "message": "header must be set when type is Header, and only then" },
    { "rule": "(self.type == 'CEL') == has(self.cel)", "message": "cel must be set when type is CEL, and only then" }
]))]
pub struct RateLimitEntry {
    /// Where the value comes from.
    #[serde(rename = "type")]
    pub entry_type: RateLimitEntryType,

    /// A fixed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic: Option<GenericEntry>,

    /// Name of the header, which is also the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,

    /// An expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel: Option<CelEntry>,
}

/// Where the value of an entry comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitEntryType {
    /// A fixed value.
    #[default]
    Generic,
    /// A header of the request.
    Header,
    /// The client's address, under the key `remote_address`.
    RemoteAddress,
    /// The path without the query, under the key `path`.
    Path,
    /// A CEL expression.
    #[serde(rename = "CEL")]
    Cel,
}

/// A fixed value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenericEntry {
    /// Key.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,

    /// Value.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// The value of an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CelEntry {
    /// Key.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,

    /// CEL expression for a text, a number or a boolean, such as `jwt.sub`.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
}

/// Token buckets kept in Redis, 6.2 or newer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisRateLimit {
    /// Host and port of the server.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// Encrypts the connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,

    /// Name of the user; `default` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub username: Option<String>,

    /// Password; none by default. Environment variables are put in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<TextSource>,

    /// Number of the database. 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 65535))]
    pub database: Option<u16>,

    /// Name of the limits: policies of one name share their buckets, in all proxies. `default` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// Buckets; a request takes what it costs from all of them, or is refused and takes nothing.
    #[schemars(length(min = 1, max = 16))]
    pub buckets: Vec<TokenBucket>,
}
