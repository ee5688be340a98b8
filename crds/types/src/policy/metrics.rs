//! Labels for the metrics of the requests of a target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts the requests of the target once more, by labels of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// The labels.
    #[schemars(length(min = 1, max = 4))]
    pub labels: Vec<MetricLabel>,
}

/// A label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricLabel {
    /// Name: letters, digits and `_`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// A CEL expression, which knows `request`, `response`, `source`, `jwt`, `apiKey`, `basicAuth` and `fields`. Where it has no
    /// value, the label is empty.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,

    /// Different values that are counted by themselves; all others are counted as `other`. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_values: Option<u32>,
}
