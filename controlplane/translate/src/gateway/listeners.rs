//! Which listeners can be served, and which routes they let in (Gateway API, "Listener").

use agentgateway_convert::reserved::OWN_PORTS;
use agentgateway_proto::v1::listener::Protocol;
use agentgateway_proto::{key, v1};

use super::conflicts::{Conflict, conflicts};
use super::declared::{Declared, Listener, Namespaces};
use super::frontend::Frontend;
use super::overlap::overlapping;
use super::plan::{Plan, PlannedListener};
use super::tls::{self, Why};
use crate::hostname;
use crate::object::{ObjectKey, ObjectKind};
use crate::selector;
use crate::view::View;

/// A planned listener with the TLS settings that its resource gets. They are no part of the plan: a renewed certificate is
/// nothing to routes.
pub(super) struct Made {
    pub(super) listener: PlannedListener,
    pub(super) tls: Option<v1::ServerTls>,
}

/// Plans the listeners of all objects, in their order.
pub(super) fn plan(declared: &[Declared], frontend: &Frontend, plan: &mut Plan, view: &View<'_>) -> Vec<Made> {
    let conflicts = conflicts(declared);
    let mut made = Vec::new();
    for (object, conflicts) in declared.iter().zip(conflicts) {
        for (listener, conflict) in object.listeners.iter().zip(conflicts) {
            made.push(plan_one(listener, &object.owner, conflict, frontend, view));
        }
    }
    mark_overlaps(&mut made);
    for Declared { owner, .. } in declared {
        plan.listeners.entry(owner.clone()).or_default();
    }
    for Made { listener, .. } in &made {
        plan.listeners.entry(listener.owner.clone()).or_default().push(listener.clone());
    }
    made
}

fn plan_one(
    listener: &Listener,
    owner: &ObjectKey,
    conflict: Option<Conflict>,
    frontend: &Frontend,
    view: &View<'_>,
) -> Made {
    let protocol = protocol(&listener.protocol);
    let passthrough = protocol == Protocol::Tls && listener.tls.as_ref().is_some_and(|tls| tls.passthrough);
    let (kinds, mut unresolved) = kinds(listener, protocol);
    let mut accepted = accept(listener, protocol);
    let ends_tls = protocol == Protocol::Https || (protocol == Protocol::Tls && !passthrough);
    let outcome = if ends_tls && accepted.is_ok() {
        let validation = (protocol == Protocol::Https).then(|| frontend.on(listener.port)).flatten();
        tls::server(listener, owner, validation, view)
    } else {
        tls::Outcome::default()
    };
    if let Some(refused) = outcome.refused {
        accepted = Err(refused);
    }
    unresolved.extend(outcome.unresolved);
    let planned = PlannedListener {
        owner: owner.clone(),
        name: listener.name.clone(),
        key: key::listener(&owner.name.to_ref(owner.kind.kind()), &listener.name),
        port: u16::try_from(listener.port).unwrap_or_default(),
        protocol,
        // Gateway API: ignored where the protocol knows no hosts.
        hostname: listener.hostname.clone().filter(|_| !matches!(protocol, Protocol::Tcp | Protocol::Udp)),
        kinds,
        namespaces: listener.namespaces.clone(),
        accepted,
        conflict,
        unresolved: joined(unresolved),
        equipped: !ends_tls || outcome.tls.is_some(),
        overlaps: false,
    };
    Made { listener: planned, tls: outcome.tls }
}

/// The first reason, with all messages.
fn joined(all: Vec<Why>) -> Option<Why> {
    let (reason, _) = *all.first()?;
    let messages: Vec<String> = all.into_iter().map(|(_, message)| message).collect();
    Some((reason, messages.join("; ")))
}

fn mark_overlaps(made: &mut [Made]) {
    let ends_tls = |m: &&mut Made| m.tls.is_some() && m.listener.served();
    let hosts: Vec<(u16, Option<String>)> =
        made.iter_mut().filter(ends_tls).map(|m| (m.listener.port, m.listener.hostname.clone())).collect();
    let hosts: Vec<(u16, Option<&str>)> = hosts.iter().map(|(port, host)| (*port, host.as_deref())).collect();
    let found = overlapping(&hosts);
    for (_, one) in made.iter_mut().filter(ends_tls).enumerate().filter(|(place, _)| found.contains(place)) {
        one.listener.overlaps = true;
    }
}

fn protocol(name: &str) -> Protocol {
    match name {
        "HTTP" => Protocol::Http,
        "HTTPS" => Protocol::Https,
        "TLS" => Protocol::Tls,
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => Protocol::Unspecified,
    }
}

/// The kinds of route that a protocol can serve.
fn servable(protocol: Protocol) -> &'static [ObjectKind] {
    match protocol {
        Protocol::Http | Protocol::Https => &[ObjectKind::HttpRoute, ObjectKind::GrpcRoute],
        Protocol::Tls => &[ObjectKind::TlsRoute],
        Protocol::Tcp => &[ObjectKind::TcpRoute],
        Protocol::Udp => &[ObjectKind::UdpRoute],
        Protocol::Unspecified => &[],
    }
}

/// The kinds that may attach, and what is wrong with the others that are listed.
fn kinds(listener: &Listener, protocol: Protocol) -> (Vec<ObjectKind>, Vec<Why>) {
    let servable = servable(protocol);
    if listener.kinds.is_empty() {
        return (servable.to_vec(), Vec::new());
    }
    let is = |kind: &ObjectKind, (group, name): &(Option<String>, String)| {
        kind.kind() == name && group.as_deref().is_none_or(|group| group == kind.group())
    };
    let kinds = servable.iter().filter(|kind| listener.kinds.iter().any(|written| is(kind, written))).copied();
    let foreign: Vec<&str> = listener
        .kinds
        .iter()
        .filter(|written| !servable.iter().any(|kind| is(kind, written)))
        .map(|(_, kind)| kind.as_str())
        .collect();
    let mut wrong = Vec::new();
    if !foreign.is_empty() && protocol != Protocol::Unspecified {
        let protocol = &listener.protocol;
        let message =
            format!("allowedRoutes.kinds: {} cannot attach to listeners of protocol {protocol}", foreign.join(", "));
        wrong.push(("InvalidRouteKinds", message));
    }
    (kinds.collect(), wrong)
}

fn accept(listener: &Listener, protocol: Protocol) -> Result<(), Why> {
    if protocol == Protocol::Unspecified {
        let message = format!("protocol {} is not supported; HTTP, HTTPS, TLS, TCP and UDP are", listener.protocol);
        return Err(("UnsupportedProtocol", message));
    }
    match u16::try_from(listener.port) {
        Ok(port) if OWN_PORTS.contains(&port) && protocol != Protocol::Udp => {
            let message = format!("port {port} is the proxy's own: admin, metrics or readiness");
            return Err(("PortUnavailable", message));
        }
        Ok(port) if port > 0 => {}
        Ok(_) | Err(_) => return Err(("PortUnavailable", format!("{} is not a port", listener.port))),
    }
    if let Some(hostname) = listener.hostname.as_ref().filter(|h| !hostname::valid(h)) {
        return Err(("Invalid", format!("hostname {hostname:?} is neither a host name nor a wildcard of one")));
    }
    if let Namespaces::Selector(selector) = &listener.namespaces
        && let Some(operator) = selector::unknown_operator(selector)
    {
        return Err(("Invalid", format!("allowedRoutes.namespaces.selector: there is no operator {operator}")));
    }
    if let Some(tls) = &listener.tls
        && tls.passthrough
        && protocol == Protocol::Https
    {
        return Err(("UnsupportedValue", "tls.mode: HTTPS ends at the gateway, only TLS can be passed on".to_owned()));
    }
    Ok(())
}
