//! The status of a Gateway and of a GatewayClass.

use gateway_api::apis::experimental::gatewayclasses::{
    GatewayClass, GatewayClassStatus, GatewayClassStatusSupportedFeatures,
};
use gateway_api::apis::experimental::gateways::{
    Gateway, GatewayStatus, GatewayStatusAddresses, GatewayStatusListeners, GatewayStatusListenersSupportedKinds,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::listeners::{PlannedListener, ROUTE_KIND};
use crate::Name;
use crate::conditions::{Moment, Verdict, merge};
use crate::features::SUPPORTED_FEATURES;
use crate::made::{GatewayState, RejectedPart};
use crate::object::{ObjectKey, ObjectKind};

const OURS: [&str; 2] = ["Accepted", "Programmed"];
const OURS_ON_LISTENERS: [&str; 4] = ["Accepted", "Conflicted", "Programmed", "ResolvedRefs"];
const MOST_ADDRESSES: usize = 16;

/// The status of a Gateway. `service` is the one deployed for it; `unreadable` says why the newest state of the object does
/// not fit our types.
pub(crate) fn status(
    gateway: &Gateway,
    state: &GatewayState,
    service: Option<&Service>,
    unreadable: Option<&str>,
    given: Option<&GatewayStatus>,
    now: &Time,
) -> GatewayStatus {
    let held = gateway.status.clone().unwrap_or_default();
    let at = Moment { now, generation: gateway.metadata.generation };
    let key = ObjectKey { kind: ObjectKind::Gateway, name: Name::of(gateway) };
    let rejected = state.rejections.get(&key).map(Vec::as_slice).unwrap_or_default();
    let addresses = addresses(service);
    let verdicts =
        [accepted(state, unreadable), programmed(state, &addresses, super::wanted_address(gateway), rejected)];
    let listeners = state.plan.listeners.iter().map(|listener| {
        let held = held.listeners.iter().flatten().find(|l| l.name == listener.name);
        let given = given.and_then(|g| g.listeners.as_ref()).into_iter().flatten().find(|l| l.name == listener.name);
        listener_status(listener, state, rejected, held, given, at)
    });
    let conditions = |status: &GatewayStatus| status.conditions.clone().unwrap_or_default();
    GatewayStatus {
        listeners: Some(listeners.collect()),
        conditions: Some(merge(&conditions(&held), &given.map(conditions).unwrap_or_default(), &verdicts, &OURS, at)),
        addresses: (!addresses.is_empty()).then_some(addresses),
        attached_listener_sets: held.attached_listener_sets,
    }
}

/// The status of a GatewayClass of ours.
pub(crate) fn class_status(class: &GatewayClass, given: Option<&GatewayClassStatus>, now: &Time) -> GatewayClassStatus {
    let verdict = match &class.spec.parameters_ref {
        Some(parameters) => {
            let message =
                format!("spec.parametersRef: no kind of parameters is supported, {} is none", parameters.kind);
            Verdict::no("Accepted", "InvalidParameters", message)
        }
        None => Verdict::yes("Accepted", "Accepted", "Gateways of this class are served"),
    };
    let conditions = |status: &GatewayClassStatus| status.conditions.clone().unwrap_or_default();
    let at = Moment { now, generation: class.metadata.generation };
    let held = class.status.as_ref().map(conditions).unwrap_or_default();
    let merged = merge(&held, &given.map(conditions).unwrap_or_default(), &[verdict], &["Accepted"], at);
    let features = SUPPORTED_FEATURES.iter().map(|f| GatewayClassStatusSupportedFeatures { name: (*f).to_owned() });
    GatewayClassStatus { conditions: Some(merged), supported_features: Some(features.collect()) }
}

fn accepted(state: &GatewayState, unreadable: Option<&str>) -> Verdict {
    if let Some(reason) = unreadable {
        let message =
            format!("the object does not fit the types of this release and is not used in this form: {reason}");
        return Verdict::no("Accepted", "Invalid", message);
    }
    if let Some((reason, message)) = &state.verdict.refused {
        return Verdict::no("Accepted", reason, message);
    }
    let invalid = |l: &&PlannedListener| l.accepted.is_err() || l.conflict.is_some();
    let names: Vec<&str> = state.plan.listeners.iter().filter(invalid).map(|l| l.name.as_str()).collect();
    let message = format!("listeners that cannot be served: {}", names.join(", "));
    if names.is_empty() {
        Verdict::yes("Accepted", "Accepted", "the Gateway is valid")
    } else if names.len() == state.plan.listeners.len() {
        Verdict::no("Accepted", "ListenersNotValid", message)
    } else {
        Verdict::yes("Accepted", "ListenersNotValid", message)
    }
}

fn programmed(
    state: &GatewayState,
    addresses: &[GatewayStatusAddresses],
    wanted: Option<&str>,
    rejected: &[RejectedPart],
) -> Verdict {
    let no = |reason, message: String| Verdict::no("Programmed", reason, message);
    if state.plan.served().next().is_none() {
        return no("Invalid", "no listener can be served".to_owned());
    }
    if !rejected.is_empty() {
        let reasons: Vec<&str> = rejected.iter().map(|part| part.reason.as_str()).collect();
        return no("Invalid", format!("the proxy refuses the configuration: {}", reasons.join("; ")));
    }
    if addresses.is_empty() {
        let message = format!("Service {} has no load balancer address yet", state.workload.name);
        return no("AddressNotAssigned", message);
    }
    if let Some(wanted) = wanted.filter(|wanted| !addresses.iter().any(|a| a.value == **wanted)) {
        let message = format!("Service {} was not given the address {wanted}", state.workload.name);
        return no("AddressNotUsable", message);
    }
    Verdict::yes("Programmed", "Programmed", "the proxy has the configuration")
}

fn listener_status(
    listener: &PlannedListener,
    state: &GatewayState,
    rejected: &[RejectedPart],
    held: Option<&GatewayStatusListeners>,
    given: Option<&GatewayStatusListeners>,
    at: Moment<'_>,
) -> GatewayStatusListeners {
    let refused = rejected.iter().find(|part| part.section == listener.name);
    let served = state.plan.served().any(|l| l.name == listener.name);
    let programmed = match refused {
        Some(part) => Verdict::no("Programmed", "Invalid", format!("the proxy refuses the listener: {}", part.reason)),
        None if served => Verdict::yes("Programmed", "Programmed", "the proxy has the listener"),
        None => Verdict::no("Programmed", "Invalid", "the listener cannot be served"),
    };
    let verdicts: Vec<Verdict> = listener.verdicts().into_iter().chain([programmed]).collect();
    let kind = GatewayStatusListenersSupportedKinds {
        group: Some(agentgateway_crds::GATEWAY_GROUP.to_owned()),
        kind: ROUTE_KIND.to_owned(),
    };
    let conditions =
        |l: Option<&GatewayStatusListeners>| -> Vec<Condition> { l.map(|l| l.conditions.clone()).unwrap_or_default() };
    let attached = state.attached.get(&listener.name).copied().unwrap_or_default();
    GatewayStatusListeners {
        name: listener.name.clone(),
        attached_routes: i32::try_from(attached).unwrap_or(i32::MAX),
        supported_kinds: Some(if listener.takes_http_routes { vec![kind] } else { Vec::new() }),
        conditions: merge(&conditions(held), &conditions(given), &verdicts, &OURS_ON_LISTENERS, at),
    }
}

fn addresses(service: Option<&Service>) -> Vec<GatewayStatusAddresses> {
    let balancer = service.and_then(|s| s.status.as_ref()).and_then(|s| s.load_balancer.as_ref());
    let address = |kind: &str, value: &str| GatewayStatusAddresses { r#type: Some(kind.into()), value: value.into() };
    let ingress = balancer.and_then(|b| b.ingress.as_ref()).into_iter().flatten();
    let each = ingress.filter_map(|i| match (&i.ip, &i.hostname) {
        (Some(ip), _) if !ip.is_empty() => Some(address("IPAddress", ip)),
        (_, Some(hostname)) if !hostname.is_empty() => Some(address("Hostname", hostname)),
        _ => None,
    });
    each.take(MOST_ADDRESSES).collect()
}
