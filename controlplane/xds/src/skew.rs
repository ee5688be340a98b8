//! What a proxy of another release gets instead of what it would misread.
//!
//! A proxy skips protobuf fields that it does not know. For a policy that protects this would leave its targets open, so
//! such a policy becomes an explicit deny; a listener whose TLS is not known in full is withheld, and a backend whose TLS is
//! not, becomes one that cannot be reached. All this on the streams of that release alone. Translator and snapshot know
//! nothing of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use agentgateway_proto::capabilities::{Capabilities, descriptor};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::{Encoded, Keyed, Snapshot, difference};
use agentgateway_proto::v1::{self, policy, policy_spec};
use prost::Message;
use prost_reflect::DynamicMessage;

/// Snapshots as the proxies of one gateway with one set of capabilities are to see them.
#[derive(Debug)]
pub struct View {
    capabilities: Capabilities,
    gateway: String,
    last: Mutex<Option<(Arc<Snapshot>, Arc<Snapshot>)>>,
}

/// All views in use, so that streams of one release share the work.
#[derive(Debug)]
pub struct Views {
    own: Capabilities,
    views: Mutex<BTreeMap<(String, Capabilities), Weak<View>>>,
}

impl Default for Views {
    fn default() -> Self {
        Views { own: Capabilities::own(), views: Mutex::default() }
    }
}

impl Views {
    /// The view for a peer; `None` when it knows all that this program knows, and costs nothing.
    pub fn of(&self, gateway: &str, capabilities: Capabilities) -> Option<Arc<View>> {
        if capabilities.covers(&self.own) {
            return None;
        }
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|_, view| view.strong_count() > 0);
        let key = (gateway.to_owned(), capabilities);
        if let Some(view) = views.get(&key).and_then(Weak::upgrade) {
            return Some(view);
        }
        let view = Arc::new(View::new(gateway, key.1.clone()));
        views.insert(key, Arc::downgrade(&view));
        Some(view)
    }
}

impl View {
    fn new(gateway: &str, capabilities: Capabilities) -> View {
        View { capabilities, gateway: gateway.to_owned(), last: Mutex::default() }
    }

    /// The snapshot as this view's proxies get it; costs what changed since the last one.
    pub fn adapt(&self, source: &Arc<Snapshot>) -> Arc<Snapshot> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, adapted)) = last.as_ref()
            && Arc::ptr_eq(seen, source)
        {
            return adapted.clone();
        }
        let empty = Keyed::new();
        let mut edit = last.as_ref().map_or_else(|| Snapshot::default().edit(), |(_, adapted)| adapted.edit());
        for kind in Kind::PUSH_ORDER {
            let Some(new) = source.kind(kind) else { continue };
            if !self.capabilities.kinds.contains(kind.message()) {
                continue;
            }
            let old = last.as_ref().and_then(|(seen, _)| seen.kind(kind)).unwrap_or(&empty);
            let found = difference(old, new);
            for (key, encoded) in found.changed {
                match self.rewrite(kind, encoded) {
                    Some(seen) => edit.insert_encoded(kind, key, seen),
                    None => edit.remove(kind, key),
                }
            }
            for key in found.removed {
                edit.remove(kind, key);
            }
        }
        let adapted = Arc::new(edit.finish());
        *last = Some((source.clone(), adapted.clone()));
        adapted
    }

    /// None: it is withheld.
    fn rewrite(&self, kind: Kind, encoded: &Arc<Encoded>) -> Option<Arc<Encoded>> {
        let Ok(resource) = Resource::decode(kind, &encoded.bytes) else { return Some(encoded.clone()) };
        let rewritten = match resource {
            Resource::Policy(policy) => self.policy(policy).map(Resource::Policy),
            Resource::Route(route) => self.route(route).map(Resource::Route),
            Resource::Backend(backend) => self.backend(backend).map(Resource::Backend),
            Resource::Listener(listener) if self.asks_too_much(&listener) => return None,
            _ => None,
        };
        Some(rewritten.map_or_else(|| encoded.clone(), |resource| Arc::new(Encoded::new(&resource))))
    }

    /// Whether the proxy would ask clients for less than the listener's TLS says, or not even encrypt.
    fn asks_too_much(&self, listener: &v1::Listener) -> bool {
        listener.tls.as_ref().is_some_and(|tls| self.unknown("ServerTls", tls).is_some())
    }

    fn policy(&self, policy: v1::Policy) -> Option<v1::Policy> {
        let unknown = self.unknown("Policy", &policy)?;
        if policy.spec.as_ref().is_some_and(|spec| !spec.protects()) {
            return None;
        }
        let target_alone = v1::Policy { target: policy.target.clone(), ..Default::default() };
        let target_is_known = self.unknown("Policy", &target_alone).is_none();
        let mut denied = denied(policy, &reason(&unknown));
        if !target_is_known {
            // The proxy cannot tell what it is for; the whole gateway is the least that surely holds it.
            denied.target = Some(policy::Target::Gateway(self.gateway.clone()));
        }
        Some(denied)
    }

    fn route(&self, mut route: v1::Route) -> Option<v1::Route> {
        let owner =
            route.source.as_ref().map_or_else(String::new, |s| format!("{} {}/{}", s.kind, s.namespace, s.name));
        let mut changed = self.inline(&mut route.inline_policies, &owner);
        for backend in &mut route.backends {
            changed |= self.inline(&mut backend.inline_policies, &owner);
        }
        if let Some(unknown) = route.r#match.as_ref().and_then(|m| self.unknown("RouteMatch", m)) {
            route.inline_policies.push(deny(&owner, &reason(&unknown)));
            changed = true;
        }
        changed.then_some(route)
    }

    fn backend(&self, mut backend: v1::Backend) -> Option<v1::Backend> {
        let owner =
            backend.source.as_ref().map_or_else(String::new, |s| format!("{} {}/{}", s.kind, s.namespace, s.name));
        let mut changed = self.inline(&mut backend.inline_policies, &owner);
        if backend.tls.as_ref().is_some_and(|tls| self.unknown("BackendTls", tls).is_some()) {
            // What has no kind is answered with 500, also behind an MCP backend; a deny would hold for requests alone.
            (backend.kind, backend.tls) = (None, None);
            changed = true;
        }
        changed.then_some(backend)
    }

    fn inline(&self, specs: &mut [v1::PolicySpec], owner: &str) -> bool {
        let mut changed = false;
        for spec in specs.iter_mut().filter(|spec| spec.protects()) {
            if let Some(unknown) = self.unknown("PolicySpec", spec) {
                *spec = deny(owner, &reason(&unknown));
                changed = true;
            }
        }
        changed
    }

    fn unknown(&self, name: &str, message: &impl Message) -> Option<String> {
        let checked = descriptor(name)
            .and_then(|descriptor| DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok());
        match checked {
            Some(checked) => self.capabilities.first_unknown(&checked),
            // What cannot be checked is treated as unknown.
            None => Some(name.to_owned()),
        }
    }
}

/// The policy with a deny in place of what it says.
pub fn denied(policy: v1::Policy, reason: &str) -> v1::Policy {
    let owner = format!("{} {}/{}", policy.source_kind, policy.source_namespace, policy.source_name);
    v1::Policy { spec: Some(deny(&owner, reason)), ..policy }
}

fn deny(policy: &str, reason: &str) -> v1::PolicySpec {
    let deny = v1::Deny { reason: reason.to_owned(), policy: policy.to_owned() };
    v1::PolicySpec { kind: Some(policy_spec::Kind::Deny(deny)) }
}

fn reason(unknown: &str) -> String {
    format!("this proxy's release does not know {unknown}")
}

#[cfg(test)]
mod tests;
