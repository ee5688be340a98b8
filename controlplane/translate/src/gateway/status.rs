//! The status of a Gateway, and of listeners wherever they are declared.

use agentgateway_crds::GATEWAY_GROUP;
use gateway_api::apis::experimental::gateways::{
    Gateway, GatewayStatus, GatewayStatusListeners, GatewayStatusListenersSupportedKinds,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::addresses;
use super::plan::PlannedListener;
use crate::Name;
use crate::conditions::{Moment, Verdict, merge};
use crate::made::{GatewayState, RejectedPart};
use crate::object::{ObjectKey, ObjectKind};

const OURS: [&str; 4] = ["Accepted", "InsecureFrontendValidationMode", "Programmed", "ResolvedRefs"];
const OURS_ON_LISTENERS: [&str; 5] = ["Accepted", "Conflicted", "OverlappingTLSConfig", "Programmed", "ResolvedRefs"];

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
    let own = state.plan.of(&key);
    let verdicts: Vec<Verdict> =
        [accepted(state, own, unreadable), programmed(gateway, state, service), resolved(state, own)]
            .into_iter()
            .chain(insecure(state))
            .collect();
    let listeners = own.iter().map(|listener| {
        let find = |status: &GatewayStatus| {
            status.listeners.iter().flatten().find(|l| l.name == listener.name).map(|l| l.conditions.clone())
        };
        let entry = entry(listener, state, find(&held), given.and_then(find), at);
        GatewayStatusListeners {
            name: listener.name.clone(),
            attached_routes: entry.attached,
            supported_kinds: Some(entry.kinds.into_iter().map(supported).collect()),
            conditions: entry.conditions,
        }
    });
    let conditions = |status: &GatewayStatus| status.conditions.clone().unwrap_or_default();
    let addresses = addresses::assigned(service);
    let sets = state.attached_sets();
    GatewayStatus {
        listeners: Some(listeners.collect()),
        conditions: Some(merge(&conditions(&held), &given.map(conditions).unwrap_or_default(), &verdicts, &OURS, at)),
        addresses: (!addresses.is_empty()).then_some(addresses),
        attached_listener_sets: (sets > 0 || gateway.spec.allowed_listeners.is_some())
            .then(|| i32::try_from(sets).unwrap_or(i32::MAX)),
    }
}

fn supported(kind: &str) -> GatewayStatusListenersSupportedKinds {
    GatewayStatusListenersSupportedKinds { group: Some(GATEWAY_GROUP.to_owned()), kind: kind.to_owned() }
}

fn accepted(state: &GatewayState, own: &[PlannedListener], unreadable: Option<&str>) -> Verdict {
    if let Some(reason) = unreadable {
        let message =
            format!("the object does not fit the types of this release and is not used in this form: {reason}");
        return Verdict::no("Accepted", "Invalid", message);
    }
    if let Some((reason, message)) = &state.verdict.refused {
        return Verdict::no("Accepted", reason, message);
    }
    let names: Vec<&str> = own.iter().filter(|l| !l.served()).map(|l| l.name.as_str()).collect();
    let message = format!("listeners that cannot be served: {}", names.join(", "));
    let remarked = |message: String| match &state.verdict.remark {
        Some(remark) => format!("{message}; {remark}"),
        None => message,
    };
    if names.is_empty() {
        Verdict::yes("Accepted", "Accepted", remarked("the Gateway is valid".to_owned()))
    } else if state.plan.served().next().is_none() {
        Verdict::no("Accepted", "ListenersNotValid", message)
    } else {
        Verdict::yes("Accepted", "ListenersNotValid", remarked(message))
    }
}

/// Whether proxies serve the Gateway, at the addresses that it asks for.
pub(crate) fn programmed(gateway: &Gateway, state: &GatewayState, service: Option<&Service>) -> Verdict {
    let no = |reason, message: String| Verdict::no("Programmed", reason, message);
    if state.plan.served().next().is_none() {
        return no("Invalid", "no listener can be served".to_owned());
    }
    let key = ObjectKey { kind: ObjectKind::Gateway, name: Name::of(gateway) };
    let rejected = state.rejections.get(&key).map(Vec::as_slice).unwrap_or_default();
    if !rejected.is_empty() {
        let reasons: Vec<&str> = rejected.iter().map(|part| part.reason.as_str()).collect();
        return no("Invalid", format!("the proxy refuses the configuration: {}", reasons.join("; ")));
    }
    match addresses::lacks(gateway, &addresses::assigned(service), &state.workload.name) {
        Some((reason, message)) => no(reason, message),
        None => Verdict::yes("Programmed", "Programmed", "the proxy has the configuration"),
    }
}

fn resolved(state: &GatewayState, own: &[PlannedListener]) -> Verdict {
    let names: Vec<&str> = own.iter().filter(|l| l.unresolved.is_some()).map(|l| l.name.as_str()).collect();
    match &state.verdict.unresolved {
        Some((reason, message)) => Verdict::no("ResolvedRefs", reason, message),
        None if !names.is_empty() => {
            let message = format!("listeners with references that do not resolve: {}", names.join(", "));
            Verdict::no("ResolvedRefs", "ListenersNotResolved", message)
        }
        None => Verdict::yes("ResolvedRefs", "ResolvedRefs", "all references are resolved"),
    }
}

/// Must be there only while it is so.
fn insecure(state: &GatewayState) -> Option<Verdict> {
    let message = "spec.tls.frontend: with AllowInsecureFallback clients without a valid certificate are served";
    let verdict = Verdict::yes("InsecureFrontendValidationMode", "ConfigurationChanged", message);
    state.verdict.insecure.then_some(verdict)
}

/// What the status says of a listener.
pub(super) struct Entry {
    pub(super) attached: i32,
    pub(super) kinds: Vec<&'static str>,
    pub(super) conditions: Vec<Condition>,
}

/// The status of one listener, whose object holds the conditions `held`.
pub(super) fn entry(
    listener: &PlannedListener,
    state: &GatewayState,
    held: Option<Vec<Condition>>,
    given: Option<Vec<Condition>>,
    at: Moment<'_>,
) -> Entry {
    let rejected = state.rejections.get(&listener.owner).map(Vec::as_slice).unwrap_or_default();
    let refused: Option<&RejectedPart> = rejected.iter().find(|part| part.section == listener.name);
    let programmed = match refused {
        Some(part) => Verdict::no("Programmed", "Invalid", format!("the proxy refuses the listener: {}", part.reason)),
        None if state.plan.refused => Verdict::no("Programmed", "Invalid", "the Gateway is not accepted"),
        None => listener
            .not_programmed()
            .unwrap_or_else(|| Verdict::yes("Programmed", "Programmed", "the proxy has the listener")),
    };
    let verdicts: Vec<Verdict> = listener.verdicts().into_iter().chain([programmed]).collect();
    let attached = state.attached.get(&(listener.owner.clone(), listener.name.clone())).copied().unwrap_or_default();
    Entry {
        attached: i32::try_from(attached).unwrap_or(i32::MAX),
        kinds: listener.kinds.iter().map(|kind| kind.kind()).collect(),
        conditions: merge(&held.unwrap_or_default(), &given.unwrap_or_default(), &verdicts, &OURS_ON_LISTENERS, at),
    }
}
