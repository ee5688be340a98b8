//! The listeners of a Gateway: which can be served, and which routes they let in (Gateway API, "Listener").

use std::collections::HashMap;

use agentgateway_convert::reserved::OWN_PORTS;
use agentgateway_proto::key;
use agentgateway_proto::v1::ObjectRef;
use gateway_api::apis::experimental::gateways::{
    Gateway, GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::conditions::Verdict;
use crate::hostname;
use crate::selector;

/// The kind of route that HTTP listeners serve.
pub(crate) const ROUTE_KIND: &str = "HTTPRoute";

/// What a Gateway is for routes and policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) listeners: Vec<PlannedListener>,
    /// Whether the Gateway as a whole is refused, and nothing of it served.
    pub(crate) refused: bool,
}

impl Plan {
    /// The listeners that become resources.
    pub(crate) fn served(&self) -> impl Iterator<Item = &PlannedListener> {
        self.listeners.iter().filter(|listener| !self.refused && listener.served())
    }
}

/// A listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedListener {
    pub(crate) name: String,
    /// Key of its resource.
    pub(crate) key: String,
    pub(crate) port: u16,
    /// `None` is every host.
    pub(crate) hostname: Option<String>,
    /// Whether HTTPRoutes may attach.
    pub(crate) takes_http_routes: bool,
    /// The namespaces whose routes may attach.
    pub(crate) namespaces: Namespaces,
    /// Why it cannot be served.
    pub(crate) accepted: Result<(), (&'static str, String)>,
    pub(crate) conflict: Option<(&'static str, String)>,
    /// Why its references do not resolve.
    pub(crate) unresolved: Option<(&'static str, String)>,
}

/// Namespaces whose routes may attach to a listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Namespaces {
    All,
    /// That of the Gateway.
    Same,
    Selector(LabelSelector),
}

impl PlannedListener {
    fn served(&self) -> bool {
        self.accepted.is_ok() && self.conflict.is_none() && self.takes_http_routes
    }

    /// Its conditions, but for Programmed.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let accepted = match (&self.conflict, &self.accepted) {
            (Some((reason, message)), _) | (None, Err((reason, message))) => Verdict::no("Accepted", reason, message),
            (None, Ok(())) => Verdict::yes("Accepted", "Accepted", "the listener is valid"),
        };
        let conflicted = match &self.conflict {
            Some((reason, message)) => Verdict::yes("Conflicted", reason, message),
            None => Verdict::no("Conflicted", "NoConflicts", "no other listener is in its way"),
        };
        let resolved = match &self.unresolved {
            Some((reason, message)) => Verdict::no("ResolvedRefs", reason, message),
            None => Verdict::yes("ResolvedRefs", "ResolvedRefs", "all references are resolved"),
        };
        vec![accepted, conflicted, resolved]
    }
}

/// Plans the listeners of a Gateway, in the order of its spec.
pub(crate) fn plan(gateway: &Gateway, source: &ObjectRef, refused: bool) -> Plan {
    let conflicts = conflicts(&gateway.spec.listeners);
    let planned = gateway.spec.listeners.iter().zip(conflicts);
    Plan { listeners: planned.map(|(listener, conflict)| plan_one(listener, conflict, source)).collect(), refused }
}

fn plan_one(
    listener: &GatewayListeners,
    conflict: Option<(&'static str, String)>,
    source: &ObjectRef,
) -> PlannedListener {
    let allowed = listener.allowed_routes.as_ref();
    let namespaces = match allowed.and_then(|a| a.namespaces.as_ref()) {
        None => Namespaces::Same,
        Some(namespaces) => match namespaces.from {
            Some(From::All) => Namespaces::All,
            Some(From::Same) | None => Namespaces::Same,
            Some(From::Selector) => {
                Namespaces::Selector(namespaces.selector.as_ref().map(selector::of_listener).unwrap_or_default())
            }
        },
    };
    let http = listener.protocol == "HTTP";
    let kinds = allowed.and_then(|a| a.kinds.as_deref()).unwrap_or_default();
    let ours = |group: &Option<String>| group.as_deref().is_none_or(|g| g == agentgateway_crds::GATEWAY_GROUP);
    let foreign: Vec<&str> =
        kinds.iter().filter(|k| k.kind != ROUTE_KIND || !ours(&k.group)).map(|k| k.kind.as_str()).collect();
    let takes_http_routes = http && (kinds.is_empty() || foreign.len() < kinds.len());
    let unresolved = (http && !foreign.is_empty()).then(|| {
        let message = format!("allowedRoutes.kinds: {} cannot attach to an HTTP listener here", foreign.join(", "));
        ("InvalidRouteKinds", message)
    });
    let hostname = listener.hostname.as_ref().filter(|h| !h.is_empty()).map(|h| h.to_ascii_lowercase());
    PlannedListener {
        name: listener.name.clone(),
        key: key::listener(source, &listener.name),
        port: u16::try_from(listener.port).unwrap_or_default(),
        takes_http_routes,
        accepted: accept(listener, hostname.as_deref(), &namespaces),
        hostname,
        namespaces,
        conflict,
        unresolved,
    }
}

fn accept(
    listener: &GatewayListeners,
    hostname: Option<&str>,
    namespaces: &Namespaces,
) -> Result<(), (&'static str, String)> {
    if listener.protocol != "HTTP" {
        let message = format!("protocol {} is not supported, only HTTP is", listener.protocol);
        return Err(("UnsupportedProtocol", message));
    }
    match u16::try_from(listener.port) {
        Ok(port) if OWN_PORTS.contains(&port) => {
            let message = format!("port {port} is the proxy's own: admin, metrics or readiness");
            return Err(("PortUnavailable", message));
        }
        Ok(port) if port > 0 => {}
        Ok(_) | Err(_) => return Err(("PortUnavailable", format!("{} is not a port", listener.port))),
    }
    if let Some(hostname) = hostname.filter(|h| !hostname::valid(h)) {
        return Err(("Invalid", format!("hostname {hostname:?} is neither a host name nor a wildcard of one")));
    }
    if let Namespaces::Selector(selector) = namespaces
        && let Some(operator) = selector::unknown_operator(selector)
    {
        return Err(("Invalid", format!("allowedRoutes.namespaces.selector: there is no operator {operator}")));
    }
    Ok(())
}

/// The conflict of each listener, if it has one. All that are in each other's way lose: none is the winner.
fn conflicts(listeners: &[GatewayListeners]) -> Vec<Option<(&'static str, String)>> {
    let mut ports: HashMap<(i32, bool), Vec<&GatewayListeners>> = HashMap::new();
    for listener in listeners {
        ports.entry((listener.port, listener.protocol == "UDP")).or_default().push(listener);
    }
    let same_host = |a: &GatewayListeners, b: &GatewayListeners| {
        let host = |l: &GatewayListeners| l.hostname.as_deref().unwrap_or_default().to_ascii_lowercase();
        host(a) == host(b)
    };
    let others = |listener: &GatewayListeners| {
        let port = ports.get(&(listener.port, listener.protocol == "UDP")).map(Vec::as_slice).unwrap_or_default();
        let name = listener.name.clone();
        port.iter().filter(move |other| other.name != name)
    };
    let conflict = |listener: &GatewayListeners| {
        let names = |of: Vec<&&GatewayListeners>| of.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", ");
        let protocol: Vec<_> = others(listener).filter(|o| o.protocol != listener.protocol).collect();
        if !protocol.is_empty() {
            let message = format!("port {} has listeners of other protocols: {}", listener.port, names(protocol));
            return Some(("ProtocolConflict", message));
        }
        let host: Vec<_> = others(listener).filter(|o| same_host(o, listener)).collect();
        if host.is_empty() {
            return None;
        }
        let message = format!("port {} has other listeners of the same host: {}", listener.port, names(host));
        Some(("HostnameConflict", message))
    };
    listeners.iter().map(conflict).collect()
}
