//! The parameters of a Gateway (GatewayParameters): what its own say, over what its class's say.

use agentgateway_convert::bind_limits;
use agentgateway_crds::{GROUP, GatewayParameters, GatewayParametersSpec};
use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use gateway_api::apis::experimental::gateways::Gateway;
use kube::Resource as _;
use serde_json::Value;

use crate::Name;
use crate::object::ObjectKind;

/// Members that are taken as a whole: parts of two of them together say what neither says.
const WHOLE: [&str; 6] =
    ["strategy", "updateStrategy", "affinity", "resources", "horizontalPodAutoscaler", "podDisruptionBudget"];

/// The parameters of a Gateway, or why there is no knowing them. `find` gives the GatewayParameters of a name.
pub(crate) fn of_gateway<'a>(
    gateway: &Gateway,
    class: &GatewayClass,
    find: impl Fn(&Name) -> Option<&'a GatewayParameters>,
) -> Result<GatewayParametersSpec, String> {
    let of_class = of_class(class, &find)?;
    let Some(reference) = gateway.spec.infrastructure.as_ref().and_then(|i| i.parameters_ref.as_ref()) else {
        return Ok(of_class);
    };
    let field = "spec.infrastructure.parametersRef";
    let name = Name::new(gateway.meta().namespace.clone().unwrap_or_default(), reference.name.clone());
    let own = resolve(field, &reference.group, &reference.kind, &name, find)?;
    merge(&of_class, &own).map_err(|error| format!("{field}: {error}"))
}

/// The parameters of a class, empty when it names none, or why there is no knowing them.
pub(crate) fn of_class<'a>(
    class: &GatewayClass,
    find: impl Fn(&Name) -> Option<&'a GatewayParameters>,
) -> Result<GatewayParametersSpec, String> {
    let Some(reference) = &class.spec.parameters_ref else { return Ok(GatewayParametersSpec::default()) };
    let field = "spec.parametersRef of the GatewayClass";
    let name = Name::new(reference.namespace.clone().unwrap_or_default(), reference.name.clone());
    if name.namespace.is_empty() {
        return Err(format!("{field}: namespace must be set"));
    }
    resolve(field, &reference.group, &reference.kind, &name, find)
}

/// Whether a class names the GatewayParameters of this name.
pub(crate) fn names(class: &GatewayClass, name: &Name) -> bool {
    class.spec.parameters_ref.as_ref().is_some_and(|reference| {
        reference.name == name.name && reference.namespace.as_deref() == Some(name.namespace.as_str())
    })
}

fn resolve<'a>(
    field: &str,
    group: &str,
    kind: &str,
    name: &Name,
    find: impl Fn(&Name) -> Option<&'a GatewayParameters>,
) -> Result<GatewayParametersSpec, String> {
    if (group, kind) != (GROUP, ObjectKind::GatewayParameters.kind()) {
        return Err(format!(
            "{field}: {kind} of group {group:?} is no kind of parameters, GatewayParameters of {GROUP:?} is"
        ));
    }
    let absent = || format!("{field}: there is no GatewayParameters {name} that this release can read");
    let found = find(name).ok_or_else(absent)?;
    if let Some(Err(error)) = found.spec.limits.as_ref().map(bind_limits) {
        return Err(format!("{field}: GatewayParameters {name}: spec.limits.{error}"));
    }
    Ok(found.spec.clone())
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
