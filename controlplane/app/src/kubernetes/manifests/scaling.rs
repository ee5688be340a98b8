//! How many proxies there are, and how many at least.

use agentgateway_controlplane_translate::Workload;
use agentgateway_crds::parameters::{AutoscalerParameters, DisruptionParameters};
use serde_json::{Value, json};

use super::{metadata, selector, set};

/// Use of the processor that is aimed at when parameters do not say, in percent of what the containers request.
const CPU_UTILIZATION: i32 = 80;

/// The HorizontalPodAutoscaler of the Deployment.
pub(super) fn autoscaler(workload: &Workload, parameters: &AutoscalerParameters) -> Value {
    let utilization = parameters.target_cpu_utilization_percentage.unwrap_or(CPU_UTILIZATION);
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(workload, None),
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name },
            "minReplicas": parameters.min_replicas.unwrap_or(1),
            "maxReplicas": parameters.max_replicas,
            "metrics": [{ "type": "Resource", "resource": {
                "name": "cpu",
                "target": { "type": "Utilization", "averageUtilization": utilization },
            } }],
        },
    })
}

/// The PodDisruptionBudget of the pods.
pub(super) fn disruption_budget(workload: &Workload, parameters: &DisruptionParameters) -> Value {
    let mut spec = json!({ "selector": { "matchLabels": selector(workload) } });
    if let Some(count) = &parameters.min_available {
        set(&mut spec, "minAvailable", count);
    }
    if let Some(count) = &parameters.max_unavailable {
        set(&mut spec, "maxUnavailable", count);
    }
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(workload, None),
        "spec": spec,
    })
}
