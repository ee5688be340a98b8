//! The proxy's container: image, resources, environment.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The proxy's container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerParameters {
    /// Image. Parts that are not set are those of the control plane's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageParameters>,

    /// What the container asks for and may use. In place of the default as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceParameters>,

    /// Environment variables. Those that the proxy takes its own settings from are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub env: Vec<EnvVar>,

    /// Filter of the logs, as "info" or "info,agentgateway_mcp=debug".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9_:=,\[\]{}.-]+$"))]
    pub log_level: Option<String>,
}

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageParameters {
    /// Registry, with a port if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$"))]
    pub registry: Option<String>,

    /// Name, with a path if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9][a-z0-9._/-]*$"))]
    pub repository: Option<String>,

    /// Tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub tag: Option<String>,

    /// Digest of the content, which counts before the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,

    /// When a node pulls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
}

/// When a node pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Not at all.
    Never,
}

/// Resources of the container, by their names (cpu, memory, ephemeral-storage).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceParameters {
    /// What it is sure to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Quantity>,

    /// What it may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Quantity>,
}

/// An amount, as 2, "500m" or "128Mi".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount, as 2, \"500m\" or \"128Mi\".",
            "x-kubernetes-int-or-string": true,
            "pattern": r"^([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        })
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl Visitor<'_> for Amount {
            type Value = Quantity;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an amount, as 2, \"500m\" or \"128Mi\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }
        deserializer.deserialize_any(Amount)
    }
}

/// Names that the proxy takes its own settings from; [`EnvVar`]'s rule lists the same.
pub const RESERVED_ENVIRONMENT: [&str; 25] = [
    "ACCESS_LOG",
    "ADMIN_ADDR",
    "AGENTGATEWAY_SUPERVISED",
    "ALLOW_LINK_LOCAL_BACKENDS",
    "ALLOW_LOOPBACK_BACKENDS",
    "CLUSTER_DOMAIN",
    "DRAIN_TIMEOUT",
    "GATEWAY",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "METRICS_ADDR",
    "NAMESPACE",
    "NODE_NAME",
    "POD_IP",
    "POD_NAME",
    "POD_NAMESPACE",
    "READINESS_ADDR",
    "REGION",
    "SESSION_KEY_FILE",
    "SNAPSHOT_FILE",
    "WORKERS",
    "XDS_ADDRESS",
    "XDS_ROOT_CA",
    "XDS_TOKEN",
    "ZONE",
];

/// An environment variable with a value of its own: it can name no Secret, and no field of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(self.name in ['ACCESS_LOG', 'ADMIN_ADDR', 'AGENTGATEWAY_SUPERVISED', 'ALLOW_LINK_LOCAL_BACKENDS', 'ALLOW_LOOPBACK_BACKENDS', 'CLUSTER_DOMAIN', 'DRAIN_TIMEOUT', 'GATEWAY', 'LOG_FORMAT', 'LOG_LEVEL', 'METRICS_ADDR', 'NAMESPACE', 'NODE_NAME', 'POD_IP', 'POD_NAME', 'POD_NAMESPACE', 'READINESS_ADDR', 'REGION', 'SESSION_KEY_FILE', 'SNAPSHOT_FILE', 'WORKERS', 'XDS_ADDRESS', 'XDS_ROOT_CA', 'XDS_TOKEN', 'ZONE'])",
    "message": "is a setting of the proxy itself, which parameters may not change"
}]))]
pub struct EnvVar {
    /// Name.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,

    /// Value.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_lists_what_is_reserved() {
        let schema = serde_json::to_value(schemars::schema_for!(EnvVar)).expect("schema");
        let rule = schema["x-kubernetes-validations"][0]["rule"].as_str().expect("a rule");
        let listed: Vec<_> = rule.split('\'').skip(1).step_by(2).collect();
        assert_eq!(listed, RESERVED_ENVIRONMENT);
    }

    #[test]
    fn amounts_are_read_as_numbers_and_as_text() {
        let read = |text: &str| serde_norway::from_str::<Quantity>(text);
        assert_eq!(read("2").expect("a number"), Quantity("2".into()));
        assert_eq!(read("500m").expect("a text"), Quantity("500m".into()));
        assert!(read("[]").is_err());
    }
}
