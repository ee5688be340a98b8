//! `TrafficPolicy`: what is done to requests besides routing them, attached to what it applies to (GEP-713, direct).

use std::collections::BTreeMap;

use agentgateway_types::policy::{RateLimit, Rbac};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Policies for the requests of a Gateway or ListenerSet, one of its listeners, an HTTPRoute or GRPCRoute, one of its rules, a
/// Service, one of its ports, or a Backend in the same namespace. Connections and datagrams of TLSRoutes, TCPRoutes and
/// UDPRoutes are no requests. rbac and rateLimit.local are supported.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    shortname = "tp",
    category = "kgateway",
    namespaced,
    status = "PolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type=='Accepted')].status", "description": "Whether the policy is in force, by Gateway"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.targetRefs) || has(self.targetSelectors)", "message": "at least one of targetRefs and targetSelectors must be set" },
    { "rule": "has(self.rbac) || has(self.rateLimit)", "message": "at least one of rbac and rateLimit must be set" }
]))]
pub struct TrafficPolicySpec {
    /// What the policy applies to, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Option<Vec<TargetRef>>,

    /// What the policy applies to, by labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub target_selectors: Option<Vec<TargetSelector>>,

    /// Rules that allow or refuse requests. On a Backend of type MCP they apply to its tools, prompts and resources: what
    /// is not allowed is not listed either. Several policies, on one target or on several levels, must all allow. A policy
    /// whose expressions cannot be compiled refuses everything on its targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rbac: Option<Rbac>,

    /// Limits the rate of requests. Each proxy counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// An object that the policy applies to, in the policy's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.group == 'gateway.networking.k8s.io' ? self.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute', 'Backend'] : self.group == '' ? self.kind == 'Service' : self.group == 'gateway.kgateway.dev' && self.kind == 'Backend'",
        "message": "must be a Gateway, ListenerSet, HTTPRoute or GRPCRoute of gateway.networking.k8s.io, a Service, or a Backend of gateway.kgateway.dev"
    },
    { "rule": "self.kind != 'Backend' || !has(self.sectionName)", "message": "a Backend has no sections" }
]))]
pub struct TargetRef {
    /// API group of the object, empty for a Service. A Backend may be written with either group.
    #[schemars(length(max = 253))]
    pub group: String,

    /// Kind of the object: Gateway, ListenerSet, HTTPRoute, GRPCRoute, Service or Backend.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Name of a listener of the Gateway or ListenerSet, a rule of the route, or a port of the Service; the whole object when
    /// it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Objects that the policy applies to by their labels, in the policy's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.group == 'gateway.networking.k8s.io' ? self.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute', 'Backend'] : self.group == '' ? self.kind == 'Service' : self.group == 'gateway.kgateway.dev' && self.kind == 'Backend'",
        "message": "must be a Gateway, ListenerSet, HTTPRoute or GRPCRoute of gateway.networking.k8s.io, a Service, or a Backend of gateway.kgateway.dev"
    },
    { "rule": "self.kind != 'Backend' || !has(self.sectionName)", "message": "a Backend has no sections" }
]))]
pub struct TargetSelector {
    /// API group of the objects, empty for Services. A Backend may be written with either group.
    #[schemars(length(max = 253))]
    pub group: String,

    /// Kind of the objects: Gateway, ListenerSet, HTTPRoute, GRPCRoute, Service or Backend.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// Labels that the objects must all have.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 64))]
    pub match_labels: BTreeMap<String, String>,

    /// Name of a listener of the Gateways or ListenerSets, a rule of the routes, or a port of the Services; the whole objects
    /// when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// State of a policy, by the Gateways that it affects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// One entry for each Gateway that the policy affects and each controller that applies it there.
    #[schemars(length(max = 16))]
    pub ancestors: Vec<PolicyAncestor>,
}

/// State of a policy on one Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestor {
    /// The Gateway.
    pub ancestor_ref: PolicyAncestorRef,

    /// The controller that wrote this entry.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,

    /// Accepted: whether the policy is in force on the Gateway, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// A Gateway, or another object that a policy affects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorRef {
    /// API group; gateway.networking.k8s.io when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,

    /// Kind; Gateway when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,

    /// Namespace; the policy's own when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Name of a listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,

    /// Port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}
