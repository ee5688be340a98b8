//! Which listeners of a Gateway a route attaches to, and which host names it serves there.

use agentgateway_crds::ParentReference;

use crate::Name;
use crate::gateway::{Namespaces, Plan, PlannedListener};
use crate::hostname;
use crate::selector;
use crate::view::View;

/// A listener that a route attaches to.
pub(super) struct Attachment<'a> {
    pub(super) listener: &'a PlannedListener,
    /// Empty is all that the listener has.
    pub(super) hostnames: Vec<String>,
    /// Whether the listener is served, so that the route becomes resources.
    pub(super) served: bool,
}

/// The listeners, or why there is none: a reason and a message.
pub(super) fn attach<'a>(
    reference: &ParentReference,
    hostnames: &[String],
    route: &Name,
    gateway: &Name,
    plan: &'a Plan,
    view: &View<'_>,
) -> Result<Vec<Attachment<'a>>, (&'static str, String)> {
    let meant = |listener: &&PlannedListener| {
        reference.section_name.as_ref().is_none_or(|section| *section == listener.name)
            && reference.port.is_none_or(|port| port == i32::from(listener.port))
    };
    let named: Vec<&'a PlannedListener> = plan.listeners.iter().filter(meant).collect();
    if named.is_empty() {
        let section = reference.section_name.as_ref().map(|s| format!(" named {s}")).unwrap_or_default();
        let port = reference.port.map(|p| format!(" on port {p}")).unwrap_or_default();
        let message = format!("Gateway {gateway} has no listener{section}{port}");
        return Err(("NoMatchingParent", message));
    }
    let open = |listener: &&PlannedListener| {
        listener.takes_http_routes
            && match &listener.namespaces {
                Namespaces::All => true,
                Namespaces::Same => route.namespace == gateway.namespace,
                Namespaces::Selector(wanted) => selector::matches(wanted, &view.namespace_labels(&route.namespace)),
            }
    };
    let allowed: Vec<&'a PlannedListener> = named.iter().copied().filter(open).collect();
    if allowed.is_empty() {
        let names: Vec<&str> = named.iter().map(|l| l.name.as_str()).collect();
        let message = format!(
            "allowedRoutes of listeners {} of Gateway {gateway} let no HTTPRoute of namespace {} in",
            names.join(", "),
            route.namespace
        );
        return Err(("NotAllowedByListeners", message));
    }
    let attach = |listener: &'a PlannedListener| -> Option<Attachment<'a>> {
        let hostnames = hostname::intersect(listener.hostname.as_deref(), hostnames)?;
        let served = plan.served().any(|l| l.name == listener.name);
        Some(Attachment { listener, hostnames, served })
    };
    let attachments: Vec<_> = allowed.into_iter().filter_map(attach).collect();
    if attachments.is_empty() {
        let message =
            format!("no listener of Gateway {gateway} has a host name in common with {}", hostnames.join(", "));
        return Err(("NoMatchingListenerHostname", message));
    }
    Ok(attachments)
}
