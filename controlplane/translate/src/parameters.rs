//! The parameters of a Gateway (GatewayParameters): what its own say, over what its class's say.

use agentgateway_crds::{GROUP, GatewayParametersSpec};
use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use gateway_api::apis::experimental::gateways::Gateway;
use kube::Resource as _;
use serde_json::Value;

use crate::object::{ObjectKey, ObjectKind};
use crate::view::View;
use crate::Name;

/// Members that are taken as a whole: parts of two of them together say what neither says.
const WHOLE: [&str; 6] =
    ["strategy", "updateStrategy", "affinity", "resources", "horizontalPodAutoscaler", "podDisruptionBudget"];

/// The parameters of a Gateway, or why there is no knowing them.
pub(crate) fn of_gateway(
    gateway: &Gateway,
    class: &GatewayClass,
    view: &View<'_>,
) -> Result<GatewayParametersSpec, String> {
    let of_class = of_class(class, view)?.unwrap_or_default();
    let Some(reference) = gateway.spec.infrastructure.as_ref().and_then(|i| i.parameters_ref.as_ref()) else {
        return Ok(of_class);
    };
    let namespace = gateway.meta().namespace.clone().unwrap_or_default();
    let name = Name::new(namespace, reference.name.clone());
    let own = find("spec.infrastructure.parametersRef", &reference.group, &reference.kind, name, view)?;
    merge(&of_class, &own).map_err(|error| format!("spec.infrastructure.parametersRef: {error}"))
}

/// The parameters of a class, if it names any, or why there is no knowing them.
pub(crate) fn of_class(class: &GatewayClass, view: &View<'_>) -> Result<Option<GatewayParametersSpec>, String> {
    let Some(reference) = &class.spec.parameters_ref else { return Ok(None) };
    let field = "spec.parametersRef of the GatewayClass";
    let Some(namespace) = reference.namespace.clone() else {
        return Err(format!("{field}: namespace must be set"));
    };
    let name = Name::new(namespace, reference.name.clone());
    find(field, &reference.group, &reference.kind, name, view).map(Some)
}

fn find(field: &str, group: &str, kind: &str, name: Name, view: &View<'_>) -> Result<GatewayParametersSpec, String> {
    if (group, kind) != (GROUP, ObjectKind::GatewayParameters.kind()) {
        return Err(format!("{field}: {kind} of group {group:?} is no kind of parameters; GatewayParameters of {GROUP} is"));
    }
    let key = ObjectKey { kind: ObjectKind::GatewayParameters, name };
    view.parameters(&key.name).map(|found| found.spec.clone()).ok_or_else(|| format!("{field}: there is no {key}"))
}

/// `over` laid over `base`: member by member, lists and what is in [`WHOLE`] as they are. Of members that exclude each other
/// those of `over` stay.
fn merge(base: &GatewayParametersSpec, over: &GatewayParametersSpec) -> serde_json::Result<GatewayParametersSpec> {
    let mut base = base.clone();
    if let (Some(base), Some(over)) = (&mut base.kube, &over.kube) {
        let replicas = |kube: &agentgateway_crds::parameters::KubernetesParameters| {
            kube.deployment.as_ref().and_then(|deployment| deployment.replicas)
        };
        if over.daemon_set.is_some() {
            (base.deployment, base.horizontal_pod_autoscaler) = (None, None);
        }
        if over.deployment.is_some() || over.horizontal_pod_autoscaler.is_some() {
            base.daemon_set = None;
        }
        if replicas(over).is_some() {
            base.horizontal_pod_autoscaler = None;
        }
        if over.horizontal_pod_autoscaler.is_some()
            && let Some(deployment) = &mut base.deployment
        {
            deployment.replicas = None;
        }
    }
    let mut merged = serde_json::to_value(base)?;
    lay_over(&mut merged, serde_json::to_value(over)?);
    serde_json::from_value(merged)
}

fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                match base.get_mut(&name).filter(|_| !WHOLE.contains(&name.as_str())) {
                    Some(member) => lay_over(member, value),
                    None => drop(base.insert(name, value)),
                }
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, over: &str) -> Value {
        let read = |text| serde_norway::from_str(text).expect("parameters");
        serde_json::to_value(merge(&read(base), &read(over)).expect("merges")).expect("JSON")
    }

    fn expect(base: &str, over: &str, expected: &str) {
        let expected: Value = serde_norway::from_str(expected).expect("YAML");
        assert_eq!(merged(base, over), expected, "{over} over {base}");
    }

    #[test]
    fn each_field_of_the_gateway_counts_and_the_others_stay() {
        expect(
            "{kube: {deployment: {replicas: 2}, service: {type: NodePort, extraLabels: {a: '1', b: '1'}}}, proxyProtocol: Off}",
            "{kube: {service: {extraLabels: {b: '2'}}}, proxyProtocol: Required}",
            "{kube: {deployment: {replicas: 2}, service: {type: NodePort, extraLabels: {a: '1', b: '2'}}}, proxyProtocol: Required}",
        );
    }

    #[test]
    fn lists_and_wholes_are_taken_as_they_are() {
        expect(
            "{kube: {agentgateway: {env: [{name: A, value: x}], resources: {limits: {cpu: '1'}}}, podDisruptionBudget: {minAvailable: 1}}}",
            "{kube: {agentgateway: {env: [{name: B, value: y}], resources: {requests: {cpu: '2'}}}, podDisruptionBudget: {maxUnavailable: 1}}}",
            "{kube: {agentgateway: {env: [{name: B, value: y}], resources: {requests: {cpu: '2'}}}, podDisruptionBudget: {maxUnavailable: 1}}}",
        );
    }

    #[test]
    fn of_what_excludes_each_other_the_gateways_stays() {
        let (set, scaled) = ("{kube: {daemonSet: {}}}", "{kube: {horizontalPodAutoscaler: {maxReplicas: 3}}}");
        let fixed = "{kube: {deployment: {replicas: 2}}}";
        expect(fixed, set, set);
        expect(scaled, set, set);
        expect(set, fixed, fixed);
        expect(scaled, fixed, fixed);
        expect(fixed, scaled, "{kube: {deployment: {}, horizontalPodAutoscaler: {maxReplicas: 3}}}");
    }
}
