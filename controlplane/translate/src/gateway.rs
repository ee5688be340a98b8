//! A Gateway: what its listeners and those of its ListenerSets are for routes, its binds and listeners as resources, and what
//! is deployed for it.

mod addresses;
mod class;
mod conflicts;
mod declared;
mod frontend;
mod listener_set;
mod listeners;
mod overlap;
mod plan;
mod status;
mod tls;

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_convert::bind_limits;
use agentgateway_crds::GatewayParametersSpec;
use agentgateway_crds::parameters::ProxyProtocol;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1::bind::Transport;
use agentgateway_proto::v1::listener::Protocol;
use agentgateway_proto::v1::{ObjectRef, policy_spec};
use agentgateway_proto::{key, v1};
use gateway_api::apis::experimental::gateways::{Gateway, GatewayDefaultScope};
use kube::Resource as _;

use crate::object::ObjectKind;
use crate::output::Workload;
use crate::unit::{Items, items};
use crate::view::View;
use crate::{Name, names, parameters};
use frontend::Frontend;
use listeners::Made;
use tls::Why;

pub(crate) use class::status as class_status;
pub(crate) use listener_set::status as listener_set_status;
pub(crate) use plan::{Parent, Plan, PlannedListener};
pub(crate) use status::{programmed, status};

/// What the spec of a Gateway is worth, whatever becomes of its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GatewayVerdict {
    /// Why the Gateway as a whole cannot be accepted.
    pub(crate) refused: Option<Why>,
    /// Why its own references, besides those of its listeners, do not resolve.
    pub(crate) unresolved: Option<Why>,
    /// Whether clients without a valid certificate are served where one is asked for.
    pub(crate) insecure: bool,
    /// What is written and has no effect.
    pub(crate) remark: Option<String>,
}

/// What a Gateway becomes.
#[derive(Debug)]
pub(crate) struct GatewayTranslation {
    pub(crate) plan: Plan,
    pub(crate) verdict: GatewayVerdict,
    pub(crate) workload: Workload,
    pub(crate) items: Items,
}

/// Translates a Gateway; `None` when its class is not ours.
pub(crate) fn translate(gateway: &Gateway, view: &View<'_>) -> Option<GatewayTranslation> {
    let class = view.class(&gateway.spec.gateway_class_name)?;
    if class.spec.controller_name != view.settings.controller_name {
        return None;
    }
    let name = Name::of(gateway);
    let (parameters, invalid) = match parameters::of_gateway(gateway, class, |name| view.parameters(name)) {
        Ok(parameters) => (parameters, None),
        Err(message) => (GatewayParametersSpec::default(), Some(("InvalidParameters", message))),
    };
    let refused = invalid.or_else(|| addresses::refuse(gateway));
    let frontend = Frontend::of(gateway, &name, view);
    let (sets, of_sets) = declared::sets(gateway, &name, view);
    let mut declared = vec![declared::gateway(gateway, &name)];
    declared.extend(of_sets);
    let mut plan = Plan { listeners: BTreeMap::new(), sets, refused: refused.is_some() };
    let made = listeners::plan(&declared, &frontend, &mut plan, view);
    let client = tls::client(gateway, &name, view);
    let source = name.to_ref(ObjectKind::Gateway.kind());
    let mut resources = if plan.refused { Vec::new() } else { resources(made, &source, &parameters, view) };
    let unresolved = match client {
        Some(Ok(certificate)) if !resources.is_empty() => {
            resources.push(client_certificate(certificate, &source));
            None
        }
        Some(Err(why)) => Some(why),
        Some(Ok(_)) | None => None,
    };
    let ports: BTreeSet<(u16, Transport)> = plan.served().map(|l| (l.port, transport(l.protocol))).collect();
    let workload = workload(gateway, &name, ports, parameters);
    let verdict = GatewayVerdict { refused, unresolved, insecure: frontend.insecure(), remark: remark(gateway) };
    Some(GatewayTranslation { verdict, workload, items: items(resources), plan })
}

fn transport(protocol: Protocol) -> Transport {
    if protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp }
}

/// The header comes on connections; datagrams have none.
fn proxy_protocol(parameters: &GatewayParametersSpec, transport: Transport) -> v1::bind::ProxyProtocol {
    match parameters.proxy_protocol.unwrap_or_default() {
        ProxyProtocol::Required if transport == Transport::Tcp => v1::bind::ProxyProtocol::Required,
        ProxyProtocol::Optional if transport == Transport::Tcp => v1::bind::ProxyProtocol::Optional,
        _ => v1::bind::ProxyProtocol::Off,
    }
}

/// Of ports for connections. Parameters with limits that cannot be meant are none.
fn limits(parameters: &GatewayParametersSpec, transport: Transport) -> Option<v1::BindLimits> {
    let limits = parameters.limits.as_ref().filter(|_| transport == Transport::Tcp)?;
    bind_limits(limits).ok()
}

/// Binds and listeners.
fn resources(
    made: Vec<Made>,
    gateway: &ObjectRef,
    parameters: &GatewayParametersSpec,
    view: &View<'_>,
) -> Vec<Resource> {
    let address = &view.settings.bind_address;
    let served = made.into_iter().filter(|made| made.listener.served());
    let mut binds = BTreeMap::new();
    let mut resources = Vec::new();
    for Made { listener, tls } in served {
        let (port, transport) = (u32::from(listener.port), transport(listener.protocol));
        let bind_key = key::bind(gateway, transport, address, port);
        binds.entry(bind_key.clone()).or_insert_with(|| v1::Bind {
            key: bind_key.clone(),
            gateway: Some(gateway.clone()),
            address: address.clone(),
            port,
            transport: transport.into(),
            proxy_protocol: proxy_protocol(parameters, transport).into(),
            limits: limits(parameters, transport),
        });
        resources.push(Resource::Listener(v1::Listener {
            key: listener.key,
            bind_key,
            gateway: Some(gateway.clone()),
            name: listener.name,
            hostname: listener.hostname.unwrap_or_default(),
            protocol: listener.protocol.into(),
            tls,
            owner: Some(listener.owner.name.to_ref(listener.owner.kind.kind())),
        }));
    }
    resources.extend(binds.into_values().map(Resource::Bind));
    resources
}

fn client_certificate(certificate: v1::Certificate, gateway: &ObjectRef) -> Resource {
    let target = format!("{}/{}", gateway.namespace, gateway.name);
    Resource::Policy(v1::Policy {
        key: key::policy(gateway, "backendClientCertificate", &format!("{}/{target}", gateway.kind)),
        source_kind: gateway.kind.clone(),
        source_namespace: gateway.namespace.clone(),
        source_name: gateway.name.clone(),
        spec: Some(v1::PolicySpec { kind: Some(policy_spec::Kind::BackendClientCertificate(certificate)) }),
        target: Some(v1::policy::Target::Gateway(target)),
    })
}

fn remark(gateway: &Gateway) -> Option<String> {
    let set = gateway.spec.default_scope.as_ref().is_some_and(|scope| *scope != GatewayDefaultScope::None);
    set.then(|| "spec.defaultScope has no effect, routes attach by their parentRefs alone".to_owned())
}

fn workload(
    gateway: &Gateway,
    name: &Name,
    ports: BTreeSet<(u16, Transport)>,
    parameters: GatewayParametersSpec,
) -> Workload {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let copied = |map: Option<&BTreeMap<String, String>>| map.cloned().unwrap_or_default();
    Workload {
        gateway: name.clone(),
        uid: gateway.meta().uid.clone(),
        class: gateway.spec.gateway_class_name.clone(),
        name: names::deployed(&name.name),
        addresses: if ports.is_empty() { Vec::new() } else { addresses::wanted(gateway) },
        ports: ports.into_iter().collect(),
        labels: copied(infrastructure.and_then(|i| i.labels.as_ref())),
        annotations: copied(infrastructure.and_then(|i| i.annotations.as_ref())),
        parameters,
    }
}
