//! The eyes of a translation: what it asks for here, it is translated again for when that changes.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use agentgateway_collections::SmallSet;
use agentgateway_crds::{DirectResponse, GatewayExtension, GatewayParameters, TrafficPolicy};
use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use gateway_api::apis::experimental::listenersets::ListenerSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use crate::backend::BackendState;
use crate::backend_tls::Candidate;
use crate::fact::Fact;
use crate::gateway::Parent;
use crate::made::Made;
use crate::object::{ObjectKey, ObjectKind, Secret};
use crate::policy::Claim;
use crate::route::RouteState;
use crate::selector::Labels;
use crate::unit::BackendUnit;
use crate::world::{Known, Table, World};
use crate::{Name, Settings};

/// Label that every namespace has.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The objects and what was made of them, with a memory of what was looked at.
pub(crate) struct View<'a> {
    pub(crate) settings: &'a Settings,
    world: &'a World,
    made: &'a Made,
    seen: RefCell<SmallSet<Fact>>,
    unread: Cell<bool>,
}

impl<'a> View<'a> {
    pub(crate) fn new(settings: &'a Settings, world: &'a World, made: &'a Made) -> View<'a> {
        View { settings, world, made, seen: RefCell::default(), unread: Cell::default() }
    }

    /// All that was looked at.
    pub(crate) fn into_seen(self) -> SmallSet<Fact> {
        self.seen.into_inner()
    }

    /// Whether something was looked at that nobody has read yet: what came of the translation must wait for it.
    pub(crate) fn saw_unread(&self) -> bool {
        self.unread.get()
    }

    fn look(&self, fact: Fact) {
        self.seen.borrow_mut().insert(fact);
    }

    pub(crate) fn class(&self, name: &str) -> Option<&'a GatewayClass> {
        self.look(Fact::Class(name.to_owned()));
        self.world.classes.get(&Name::new("", name)).map(Arc::as_ref)
    }

    pub(crate) fn parameters(&self, name: &Name) -> Option<&'a GatewayParameters> {
        self.look(Fact::Parameters(name.clone()));
        self.world.parameters.get(name).map(Arc::as_ref)
    }

    pub(crate) fn extension(&self, name: &Name) -> Option<&'a GatewayExtension> {
        self.look(Fact::Extension(name.clone()));
        self.world.extensions.get(name).map(Arc::as_ref)
    }

    pub(crate) fn direct_response(&self, name: &Name) -> Option<&'a DirectResponse> {
        self.look(Fact::Response(name.clone()));
        self.world.responses.get(name).map(Arc::as_ref)
    }

    /// A TrafficPolicy that a filter names; an error when it does not fit our types.
    pub(crate) fn traffic_policy(&self, name: &Name) -> Option<Result<&'a TrafficPolicy, &'a str>> {
        self.look(Fact::Policy(name.clone()));
        let key = ObjectKey { kind: ObjectKind::TrafficPolicy, name: name.clone() };
        match self.world.unreadable.get(&key) {
            Some(unreadable) => Some(Err(unreadable.reason.as_str())),
            None => self.world.policies.get(name).map(|policy| Ok(policy.as_ref())),
        }
    }

    /// A Gateway or ListenerSet of ours, as routes and policies see it.
    pub(crate) fn parent(&self, owner: &ObjectKey) -> Option<Parent<'a>> {
        self.look(Fact::Parent(owner.clone()));
        let gateway = match owner.kind {
            ObjectKind::ListenerSet => self.world.gateway_of_set(&owner.name)?,
            _ => owner.name.clone(),
        };
        let (name, state) = self.made.gateways.get_key_value(&gateway)?;
        state.plan.parent(name, owner)
    }

    /// Whether a route lost a host name on a listener to an older route of another kind.
    pub(crate) fn lost(&self, listener: &str, route: &ObjectKey) -> bool {
        self.made.lost.get(listener).is_some_and(|lost| lost.contains(route))
    }

    /// The ListenerSets that name a Gateway as their parent.
    pub(crate) fn listener_sets(&self, gateway: &Name) -> impl Iterator<Item = (&'a Name, &'a ListenerSet)> {
        self.look(Fact::ListenerSets(gateway.clone()));
        self.world.sets_of(gateway)
    }

    /// A Secret; `None` when there is none. Only for references that are permitted: it is asked for from now on.
    pub(crate) fn secret(&self, name: &Name) -> Option<&'a Secret> {
        self.content(ObjectKind::Secret, name, self.world.secret(name))
    }

    /// A ConfigMap, as [`View::secret`].
    pub(crate) fn config_map(&self, name: &Name) -> Option<&'a ConfigMap> {
        self.content(ObjectKind::ConfigMap, name, self.world.config_map(name))
    }

    fn content<T>(&self, kind: ObjectKind, name: &Name, known: Known<'a, T>) -> Option<&'a T> {
        self.look(Fact::Content(ObjectKey { kind, name: name.clone() }));
        match known {
            Known::Present(object) => Some(object),
            Known::Absent => None,
            Known::Unread => {
                self.unread.set(true);
                None
            }
        }
    }

    pub(crate) fn service(&self, name: &Name) -> Option<&'a Service> {
        self.look(Fact::Service(name.clone()));
        self.world.services.get(name).map(Arc::as_ref)
    }

    /// All Services with an MCP port, by name.
    pub(crate) fn mcp_services(&self) -> impl Iterator<Item = (&'a Name, &'a Service)> {
        self.look(Fact::McpServices);
        let services = self.world.services.iter().map(|(name, service)| (name, service.as_ref()));
        services.filter(|(_, service)| crate::service::has_mcp_port(service))
    }

    pub(crate) fn slices(&self, service: &Name) -> impl Iterator<Item = &'a EndpointSlice> {
        self.look(Fact::Slices(service.clone()));
        self.world.slices_of(service)
    }

    /// The labels of a namespace, which has at least that of its name.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> Labels {
        self.look(Fact::Namespace(namespace.to_owned()));
        self.labels_of(namespace)
    }

    /// As [`View::namespace_labels`], for looking at many.
    pub(crate) fn any_namespace_labels(&self, namespace: &str) -> Labels {
        self.look(Fact::Namespaces);
        self.labels_of(namespace)
    }

    fn labels_of(&self, namespace: &str) -> Labels {
        let object = self.world.namespaces.get(&Name::new("", namespace));
        let mut labels = object.and_then(|n| n.metadata.labels.clone()).unwrap_or_default();
        labels.entry(NAMESPACE_NAME_LABEL.to_owned()).or_insert_with(|| namespace.to_owned());
        labels
    }

    /// Whether objects of `from`'s kind and namespace may refer to this object in another namespace (ReferenceGrant).
    pub(crate) fn granted(&self, from: (ObjectKind, &str), to_group: &str, to_kind: &str, to: &Name) -> bool {
        let (from_kind, from_namespace) = from;
        if from_namespace == to.namespace {
            return true;
        }
        self.look(Fact::Grants(to.namespace.clone()));
        let of_namespace = self.world.grants.range(Name::new(to.namespace.clone(), "")..);
        let mut grants = of_namespace.take_while(|(name, _)| name.namespace == to.namespace).map(|(_, grant)| grant);
        grants.any(|grant| {
            let from_matches =
                grant.spec.from.iter().any(|f| {
                    f.group == from_kind.group() && f.kind == from_kind.kind() && f.namespace == from_namespace
                });
            let named = |name: &Option<String>| name.as_deref().is_none_or(|n| n.is_empty() || n == to.name);
            let to_matches = grant.spec.to.iter().any(|t| t.group == to_group && t.kind == to_kind && named(&t.name));
            from_matches && to_matches
        })
    }

    /// The BackendTLSPolicies that name a Service or a Backend as their target.
    pub(crate) fn tls_policies(&self, target: &ObjectKey) -> impl Iterator<Item = Candidate<'a>> {
        self.look(Fact::TlsPolicies(target.clone()));
        let world = self.world;
        world.tls_policies_of(target).filter_map(|name| {
            let key = ObjectKey { kind: ObjectKind::BackendTlsPolicy, name: name.clone() };
            match (world.unreadable.get(&key), world.backend_tls.get(name)) {
                (Some(unreadable), _) => Some(Candidate::Unreadable(name, unreadable)),
                (None, Some(policy)) => Some(Candidate::Readable(name, policy)),
                (None, None) => None,
            }
        })
    }

    /// What a Backend object became; `None` when there is none.
    pub(crate) fn backend(&self, name: &Name) -> Option<&'a BackendState> {
        self.look(Fact::Backend(name.clone()));
        self.made.backends.get(&BackendUnit::Object(name.clone()))
    }

    /// What an InferencePool became; `None` when there is none.
    pub(crate) fn pool(&self, name: &Name) -> Option<&'a BackendState> {
        self.look(Fact::Pool(name.clone()));
        self.made.backends.get(&BackendUnit::Pool(name.clone()))
    }

    /// The pods of a namespace with these labels.
    pub(crate) fn pods<'l>(
        &self,
        namespace: &'l str,
        wanted: &'l Labels,
    ) -> impl Iterator<Item = &'a Pod> + use<'a, 'l> {
        self.look(Fact::Pods(namespace.to_owned()));
        let world = self.world;
        filter(&world.pods, namespace, wanted).into_iter().filter_map(|name| world.pods.get(&name)).map(Arc::as_ref)
    }

    /// What a route became; `None` when there is none.
    pub(crate) fn route(&self, route: &ObjectKey) -> Option<&'a RouteState> {
        self.look(Fact::Route(route.clone()));
        self.made.routes.get(route)
    }

    /// What of a Service or Backend is in use, and the gateways that use it.
    pub(crate) fn users(&self, object: &ObjectKey) -> impl Iterator<Item = (&'a BackendUnit, &'a SmallSet<Name>)> {
        self.look(Fact::Users(object.clone()));
        self.made.users.get(object).into_iter().flatten()
    }

    /// Whether there is such an object, ours or not.
    pub(crate) fn exists(&self, kind: ObjectKind, name: &Name) -> bool {
        let key = ObjectKey { kind, name: name.clone() };
        self.look(Fact::Exists(key.clone()));
        self.world.known(&key)
    }

    /// The policy that has claimed a field of a target before another did; by its age, then its name.
    pub(crate) fn older_claim(&self, claim: &Claim, policy: &Name, created: Option<Timestamp>) -> Option<Name> {
        // Nothing is recorded: whoever claims the same is translated again when the claims change.
        let first = self.made.policy_claims.get(claim)?.iter().min()?;
        let rank = (created.unwrap_or(Timestamp::MAX), policy.clone());
        (*first < rank).then(|| first.1.clone())
    }

    /// Names of the objects of a namespace with these labels.
    pub(crate) fn labelled(&self, kind: ObjectKind, namespace: &str, wanted: &Labels) -> Vec<Name> {
        self.look(Fact::Labels(kind, namespace.to_owned()));
        let world = self.world;
        match kind {
            ObjectKind::Gateway => filter(&world.gateways, namespace, wanted),
            ObjectKind::ListenerSet => filter(&world.listener_sets, namespace, wanted),
            ObjectKind::HttpRoute => filter(&world.http_routes, namespace, wanted),
            ObjectKind::GrpcRoute => filter(&world.grpc_routes, namespace, wanted),
            ObjectKind::Service => filter(&world.services, namespace, wanted),
            ObjectKind::Backend => filter(&world.backends, namespace, wanted),
            _ => Vec::new(),
        }
    }
}

fn filter<T: Resource>(table: &Table<T>, namespace: &str, wanted: &Labels) -> Vec<Name> {
    let of_namespace = table.range(Name::new(namespace, "")..).take_while(|(name, _)| name.namespace == namespace);
    let fitting = of_namespace.filter_map(|(name, object)| {
        let has = object.meta().labels.as_ref();
        wanted.iter().all(|(key, value)| has.is_some_and(|l| l.get(key) == Some(value))).then(|| name.clone())
    });
    fitting.collect()
}
