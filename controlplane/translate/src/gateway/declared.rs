//! Listeners as Gateways and ListenerSets declare them: one type for both, and the order in which they count.

use std::collections::BTreeMap;

use gateway_api::apis::experimental::{gateways, listenersets};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::Name;
use crate::certificate::Reference;
use crate::object::{ObjectKey, ObjectKind};
use crate::selector::AsSelector;
use crate::view::View;

/// An object with its listeners.
pub(super) struct Declared {
    pub(super) owner: ObjectKey,
    pub(super) listeners: Vec<Listener>,
}

/// A listener as it is written.
pub(super) struct Listener {
    pub(super) name: String,
    /// In lower case; `None` is every host.
    pub(super) hostname: Option<String>,
    pub(super) port: i32,
    pub(super) protocol: String,
    /// Group and kind of the routes that may attach; empty leaves it to the protocol.
    pub(super) kinds: Vec<(Option<String>, String)>,
    pub(super) namespaces: Namespaces,
    pub(super) tls: Option<Tls>,
}

/// What a listener says of TLS.
pub(super) struct Tls {
    pub(super) passthrough: bool,
    pub(super) certificates: Vec<Reference>,
    pub(super) options: BTreeMap<String, String>,
}

/// Namespaces whose objects may attach.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Namespaces {
    All,
    /// That of the object which is attached to.
    Same,
    Selector(LabelSelector),
    None,
}

impl Namespaces {
    /// Whether objects in `from` may attach to an object in `to`.
    pub(crate) fn allow(&self, from: &str, to: &str, view: &View<'_>) -> bool {
        match self {
            Namespaces::All => true,
            Namespaces::Same => from == to,
            Namespaces::Selector(wanted) => crate::selector::matches(wanted, &view.namespace_labels(from)),
            Namespaces::None => false,
        }
    }
}

macro_rules! listeners {
    ($function:ident, $listener:ty, $from:ty, $mode:ty) => {
        fn $function(owner_namespace: &str, listener: &$listener) -> Listener {
            let allowed = listener.allowed_routes.as_ref();
            let namespaces = match allowed.and_then(|a| a.namespaces.as_ref()) {
                None => Namespaces::Same,
                Some(namespaces) => match namespaces.from {
                    Some(<$from>::All) => Namespaces::All,
                    Some(<$from>::Same) | None => Namespaces::Same,
                    Some(<$from>::Selector) => Namespaces::Selector(
                        namespaces.selector.as_ref().map(AsSelector::as_selector).unwrap_or_default(),
                    ),
                },
            };
            let kinds = allowed.and_then(|a| a.kinds.as_ref()).into_iter().flatten();
            let tls = listener.tls.as_ref().map(|tls| Tls {
                passthrough: tls.mode == Some(<$mode>::Passthrough),
                certificates: tls
                    .certificate_refs
                    .iter()
                    .flatten()
                    .map(|r| Reference {
                        group: r.group.clone().unwrap_or_default(),
                        kind: r.kind.clone().unwrap_or_else(|| ObjectKind::Secret.kind().to_owned()),
                        name: Name::new(r.namespace.as_deref().unwrap_or(owner_namespace), r.name.clone()),
                    })
                    .collect(),
                options: tls.options.clone().unwrap_or_default(),
            });
            Listener {
                name: listener.name.clone(),
                hostname: listener.hostname.as_ref().filter(|h| !h.is_empty()).map(|h| h.to_ascii_lowercase()),
                port: listener.port,
                protocol: listener.protocol.clone(),
                kinds: kinds.map(|k| (k.group.clone(), k.kind.clone())).collect(),
                namespaces,
                tls,
            }
        }
    };
}

listeners!(
    of_gateway,
    gateways::GatewayListeners,
    gateways::GatewayListenersAllowedRoutesNamespacesFrom,
    gateways::GatewayListenersTlsMode
);
listeners!(
    of_set,
    listenersets::ListenerSetListeners,
    listenersets::ListenerSetListenersAllowedRoutesNamespacesFrom,
    listenersets::ListenerSetListenersTlsMode
);

/// The Gateway itself.
pub(super) fn gateway(gateway: &gateways::Gateway, name: &Name) -> Declared {
    let listeners = gateway.spec.listeners.iter().map(|l| of_gateway(&name.namespace, l)).collect();
    Declared { owner: ObjectKey { kind: ObjectKind::Gateway, name: name.clone() }, listeners }
}

/// A ListenerSet's outcome on its Gateway: why it may not attach.
pub(crate) type SetVerdict = Result<(), (&'static str, String)>;

/// The ListenerSets of a Gateway: whether each may attach, and the listeners of those that may, in the order in which they
/// count: older ones first, then by name.
pub(super) fn sets(
    gateway: &gateways::Gateway,
    name: &Name,
    view: &View<'_>,
) -> (BTreeMap<Name, SetVerdict>, Vec<Declared>) {
    let (mut verdicts, mut declared) = (BTreeMap::new(), Vec::new());
    let allowed = allowed_sets(gateway);
    for (set_name, set) in view.listener_sets(name) {
        if !allowed.allow(&set_name.namespace, &name.namespace, view) {
            let message = format!(
                "spec.allowedListeners of Gateway {name} lets no ListenerSet of namespace {} in",
                set_name.namespace
            );
            verdicts.insert(set_name.clone(), Err(("NotAllowed", message)));
            continue;
        }
        verdicts.insert(set_name.clone(), Ok(()));
        let listeners = set.spec.listeners.iter().map(|l| of_set(&set_name.namespace, l)).collect();
        let owner = ObjectKey { kind: ObjectKind::ListenerSet, name: set_name.clone() };
        let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
        declared.push((created.is_none(), created, set_name.to_string(), Declared { owner, listeners }));
    }
    declared.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
    (verdicts, declared.into_iter().map(|(.., declared)| declared).collect())
}

fn allowed_sets(gateway: &gateways::Gateway) -> Namespaces {
    use gateways::GatewayAllowedListenersNamespacesFrom as From;
    let namespaces = gateway.spec.allowed_listeners.as_ref().and_then(|a| a.namespaces.as_ref());
    match namespaces.and_then(|n| n.from.as_ref()) {
        None | Some(From::None) => Namespaces::None,
        Some(From::All) => Namespaces::All,
        Some(From::Same) => Namespaces::Same,
        Some(From::Selector) => Namespaces::Selector(
            namespaces.and_then(|n| n.selector.as_ref()).map(AsSelector::as_selector).unwrap_or_default(),
        ),
    }
}
