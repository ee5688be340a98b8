//! A Gateway: what its listeners are for routes, its binds and listeners as resources, and what is deployed for it.

mod listeners;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1::bind::Transport;
use agentgateway_proto::{key, v1};
use gateway_api::apis::experimental::gateways::Gateway;
use kube::Resource as _;

use crate::object::ObjectKind;
use crate::output::Workload;
use crate::unit::{Items, items};
use crate::view::View;
use crate::{Name, names};

pub(crate) use listeners::{Namespaces, Plan, PlannedListener};
pub(crate) use status::{class_status, status};

/// What the spec of a Gateway is worth, whatever becomes of its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GatewayVerdict {
    /// Why the Gateway as a whole cannot be accepted.
    pub(crate) refused: Option<(&'static str, String)>,
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
    let source = name.to_ref(ObjectKind::Gateway.kind());
    let refused = refuse(gateway);
    let plan = listeners::plan(gateway, &source, refused.is_some());
    let ports: BTreeSet<u16> = plan.served().map(|l| l.port).collect();
    let address = &view.settings.bind_address;
    let binds = ports.iter().map(|port| {
        Resource::Bind(v1::Bind {
            key: key::bind(&source, Transport::Tcp, address, u32::from(*port)),
            gateway: Some(source.clone()),
            address: address.clone(),
            port: u32::from(*port),
            ..v1::Bind::default()
        })
    });
    let listeners = plan.served().map(|listener| {
        Resource::Listener(v1::Listener {
            key: listener.key.clone(),
            bind_key: key::bind(&source, Transport::Tcp, address, u32::from(listener.port)),
            gateway: Some(source.clone()),
            name: listener.name.clone(),
            hostname: listener.hostname.clone().unwrap_or_default(),
            protocol: v1::listener::Protocol::Http.into(),
            owner: Some(source.clone()),
            tls: None,
        })
    });
    let items = items(binds.chain(listeners));
    let workload = workload(gateway, &name, ports);
    Some(GatewayTranslation { verdict: GatewayVerdict { refused }, workload, items, plan })
}

fn refuse(gateway: &Gateway) -> Option<(&'static str, String)> {
    if let Some(parameters) = gateway.spec.infrastructure.as_ref().and_then(|i| i.parameters_ref.as_ref()) {
        let message = format!(
            "spec.infrastructure.parametersRef: no kind of parameters is supported, {} {} is none",
            parameters.kind, parameters.name
        );
        return Some(("InvalidParameters", message));
    }
    let addresses = gateway.spec.addresses.as_deref().unwrap_or_default();
    for (i, address) in addresses.iter().enumerate() {
        let kind = address.r#type.as_deref().unwrap_or("IPAddress");
        let value = address.value.as_deref().unwrap_or_default();
        let problem = match kind {
            "IPAddress" if i > 0 && !value.is_empty() => "only one address can be asked for".to_owned(),
            "IPAddress" if value.is_empty() || value.parse::<std::net::IpAddr>().is_ok() => continue,
            "IPAddress" => format!("{value:?} is not an IP address"),
            other => format!("type {other} is not supported, only IPAddress is"),
        };
        return Some(("UnsupportedAddress", format!("spec.addresses[{i}]: {problem}")));
    }
    None
}

fn workload(gateway: &Gateway, name: &Name, ports: BTreeSet<u16>) -> Workload {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let copied = |map: Option<&BTreeMap<String, String>>| map.cloned().unwrap_or_default();
    Workload {
        gateway: name.clone(),
        uid: gateway.meta().uid.clone(),
        class: gateway.spec.gateway_class_name.clone(),
        name: names::deployed(&name.name),
        addresses: wanted_address(gateway).filter(|_| !ports.is_empty()).map(str::to_owned).into_iter().collect(),
        ports: ports.into_iter().map(|port| (port, Transport::Tcp)).collect(),
        labels: copied(infrastructure.and_then(|i| i.labels.as_ref())),
        annotations: copied(infrastructure.and_then(|i| i.annotations.as_ref())),
        parameters: agentgateway_crds::GatewayParametersSpec::default(),
    }
}

fn wanted_address(gateway: &Gateway) -> Option<&str> {
    let addresses = gateway.spec.addresses.as_deref().unwrap_or_default();
    addresses.iter().filter_map(|a| a.value.as_deref()).find(|value| !value.is_empty())
}
