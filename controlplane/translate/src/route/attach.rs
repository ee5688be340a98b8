//! Which listeners of a Gateway or ListenerSet a route attaches to, and which host names it serves there.

use std::collections::BTreeMap;

use agentgateway_crds::ParentReference;

use crate::gateway::{Parent, PlannedListener};
use crate::hostname;
use crate::object::{ObjectKey, ObjectKind};
use crate::view::View;

/// A listener that a route attaches to.
pub(super) struct Attachment<'a> {
    pub(super) listener: &'a PlannedListener,
    /// Empty is all that the listener has.
    pub(super) hostnames: Vec<String>,
    /// Whether the listener is served, so that the route becomes resources.
    pub(super) served: bool,
}

/// What comes of attaching a route.
pub(super) struct Attached<'a> {
    /// The listeners, or why there is none: a reason and a message.
    pub(super) to: Result<Vec<Attachment<'a>>, (&'static str, String)>,
    /// The host names that it claims, also where it loses them.
    pub(super) claims: BTreeMap<String, Vec<String>>,
}

/// Attaches a route to its parent `owner`.
pub(super) fn attach<'a>(
    reference: &ParentReference,
    hostnames: &[String],
    route: &ObjectKey,
    owner: &ObjectKey,
    parent: Parent<'a>,
    view: &View<'_>,
) -> Attached<'a> {
    let mut claims = BTreeMap::new();
    let to = find(reference, hostnames, route, owner, parent, view).and_then(|mut attachments| {
        // An HTTPRoute and a GRPCRoute must not share a host (Gateway API, "GRPCRoute hostnames").
        if matches!(route.kind, ObjectKind::HttpRoute | ObjectKind::GrpcRoute) {
            for Attachment { listener, hostnames, .. } in &attachments {
                let every = || vec![listener.hostname.clone().unwrap_or_else(|| hostname::EVERY.to_owned())];
                let claimed = if hostnames.is_empty() { every() } else { hostnames.clone() };
                claims.insert(listener.key.clone(), claimed);
            }
            attachments.retain(|attachment| !view.lost(&attachment.listener.key, route));
            if attachments.is_empty() {
                let other =
                    if route.kind == ObjectKind::HttpRoute { ObjectKind::GrpcRoute } else { ObjectKind::HttpRoute };
                let message = format!("an older {} has host names in common with this route there", other.kind());
                return Err(("Conflicted", message));
            }
        }
        Ok(attachments)
    });
    Attached { to, claims }
}

fn find<'a>(
    reference: &ParentReference,
    hostnames: &[String],
    route: &ObjectKey,
    owner: &ObjectKey,
    parent: Parent<'a>,
    view: &View<'_>,
) -> Result<Vec<Attachment<'a>>, (&'static str, String)> {
    let meant = |listener: &&PlannedListener| {
        reference.section_name.as_ref().is_none_or(|section| *section == listener.name)
            && reference.port.is_none_or(|port| port == i32::from(listener.port))
    };
    let named: Vec<&'a PlannedListener> = parent.listeners.iter().filter(meant).collect();
    if parent.listeners.is_empty() {
        return Err(("NoMatchingParent", format!("{owner} is not let in by Gateway {}", parent.gateway)));
    }
    if named.is_empty() {
        let section = reference.section_name.as_ref().map(|s| format!(" named {s}")).unwrap_or_default();
        let port = reference.port.map(|p| format!(" on port {p}")).unwrap_or_default();
        return Err(("NoMatchingParent", format!("{owner} has no listener{section}{port}")));
    }
    let namespace = &route.name.namespace;
    let open = |listener: &&PlannedListener| {
        listener.kinds.contains(&route.kind) && listener.namespaces.allow(namespace, &owner.name.namespace, view)
    };
    let allowed: Vec<&'a PlannedListener> = named.iter().copied().filter(open).collect();
    if allowed.is_empty() {
        let names: Vec<&str> = named.iter().map(|l| l.name.as_str()).collect();
        let message = format!(
            "listeners {} of {owner} let no {} of namespace {namespace} in, by their protocol or allowedRoutes",
            names.join(", "),
            route.kind.kind()
        );
        return Err(("NotAllowedByListeners", message));
    }
    let attach = |listener: &'a PlannedListener| -> Option<Attachment<'a>> {
        let hostnames = hostname::intersect(listener.hostname.as_deref(), hostnames)?;
        Some(Attachment { listener, hostnames, served: !parent.refused && listener.served() })
    };
    let attachments: Vec<_> = allowed.into_iter().filter_map(attach).collect();
    if attachments.is_empty() {
        let message = format!("no listener of {owner} has a host name in common with {}", hostnames.join(", "));
        return Err(("NoMatchingListenerHostname", message));
    }
    Ok(attachments)
}
