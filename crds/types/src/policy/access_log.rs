//! Access logs of the requests of a target.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line, or one record of a collector, for each request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", bound(deserialize = "S: Deserialize<'de>"))]
pub struct AccessLog<S> {
    /// How a line looks; a collector gets fields. `Text` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<AccessLogFormat>,

    /// A CEL expression; a request for which it is not true is not logged. It knows `request`, `response`, `source`, `jwt`,
    /// `apiKey`, `basicAuth`, and the line's own columns as `fields`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub filter: Option<String>,

    /// Further fields, or other values of those that there are: CEL expressions by name, which know what `filter` knows. One
    /// without a value is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), inner(length(min = 1, max = 4096)))]
    pub add: BTreeMap<String, String>,

    /// Names of fields that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub remove: Vec<String>,

    /// Where it goes; the proxy's standard output by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<S>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessLogFormat {
    /// Pairs of name and value.
    #[default]
    Text,
    /// A JSON object.
    Json,
}
