//! Where the telemetry of a proxy with a YAML file goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::BackendTls;
use crate::Duration;
use crate::policy::OpenTelemetry;

/// Where an access log goes: one of `file` and `openTelemetry`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogSink {
    /// Path of a file, to which lines are added. It may be moved away while the proxy runs: a new one is begun then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,

    /// A collector. Of the logs of one policy one may have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetry<CollectorHost>>,
}

/// A collector, by its host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorHost {
    /// Host and port.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// Name under which it is asked; its host by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub authority: Option<String>,

    /// How long it may take to receive one batch. `10s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,

    /// Encrypts the connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}
