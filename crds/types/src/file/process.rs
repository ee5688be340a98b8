//! Settings of the proxy's process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Settings of the process; they are read once, at the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessConfig {
    /// Address of the admin interface; `127.0.0.1:15000` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub admin_addr: Option<String>,

    /// Address of the metrics; `0.0.0.0:15020` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub metrics_addr: Option<String>,

    /// Address of the readiness probe; `0.0.0.0:15021` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub readiness_addr: Option<String>,

    /// Worker threads; by default as many as the CPU quota gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u16>,

    /// Whether each request is logged. True by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<bool>,

    /// What the process logs about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,

    /// How the process ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,

    /// Whether backends may be on this machine's loopback addresses. True by default for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_loopback_backends: Option<bool>,

    /// Whether backends may be on link-local addresses, where clouds serve their credentials. False by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_link_local_backends: Option<bool>,
}

/// What the process logs about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a list of them by module such as `info,hyper=debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub level: Option<String>,

    /// `text` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How the process ends: it takes no new connections, lets requests end, then exits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Longest time to wait for requests and streams to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}
