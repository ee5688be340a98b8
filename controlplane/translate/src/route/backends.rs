//! References of routes to backends.

use agentgateway_crds::BackendReference;
use agentgateway_types::Path;

use super::rule::{Problem, Rule};
use crate::Name;
use crate::object::ObjectKind;
use crate::service::{self, Asked};
use crate::unit::BackendUnit;
use crate::view::View;

/// The same reference in each place where a route may have one; Gateway API has a type for each.
macro_rules! reference {
    ($reference:expr) => {
        agentgateway_crds::BackendReference {
            group: $reference.group.clone(),
            kind: $reference.kind.clone(),
            name: $reference.name.clone(),
            namespace: $reference.namespace.clone(),
            port: $reference.port,
            weight: None,
        }
    };
}
pub(super) use reference;

/// Who refers, what it speaks, and where.
#[derive(Clone, Copy)]
pub(crate) struct Referrer<'a> {
    pub(crate) kind: ObjectKind,
    pub(crate) name: &'a Name,
    pub(crate) view: &'a View<'a>,
}

impl Referrer<'_> {
    /// Key of the backend that a reference names; empty when it names none that can be used, which the rule is told.
    pub(super) fn key(&self, reference: &BackendReference, asked: Asked, at: &Path, rule: &mut Rule) -> String {
        match self.resolve(reference, asked) {
            Ok(unit) => {
                let key = unit.key();
                rule.used.insert(unit);
                key
            }
            Err((reason, message)) => {
                rule.unresolved.push(Problem::new(reason, format!("{at}: {message}")));
                String::new()
            }
        }
    }

    /// The backend that a reference names, or why it names none.
    pub(crate) fn resolve(&self, reference: &BackendReference, asked: Asked) -> Result<BackendUnit, service::Problem> {
        let group = reference.group.as_deref().unwrap_or_default();
        let kind = reference.kind.as_deref().unwrap_or("Service");
        let namespace = reference.namespace.clone().unwrap_or_else(|| self.name.namespace.clone());
        let name = Name::new(namespace, reference.name.clone());
        let service = group.is_empty() && kind == "Service";
        let backend = group == agentgateway_crds::GROUP && kind == "Backend" && asked != Asked::Udp;
        let pool = group == agentgateway_crds::INFERENCE_GROUP && kind == "InferencePool" && asked == Asked::Http;
        if !service && !backend && !pool {
            let can = match asked {
                Asked::Udp => "only Service can",
                Asked::Http => "only Service, Backend and InferencePool can",
                Asked::Grpc | Asked::Tcp => "only Service and Backend can",
            };
            return Err(("InvalidKind", format!("kind {kind} of group {group:?} cannot be a backend here, {can}")));
        }
        if !self.view.granted((self.kind, &self.name.namespace), group, kind, &name) {
            let message = format!(
                "no ReferenceGrant in namespace {} allows {}s of namespace {} to use {kind} {}",
                name.namespace,
                self.kind.kind(),
                self.name.namespace,
                name.name
            );
            return Err(("RefNotPermitted", message));
        }
        if backend {
            return self.backend(name, asked);
        }
        if pool {
            // A port at the reference is ignored: the pool names its own.
            return self.pool(name);
        }
        let port = reference.port.and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or_else(|| ("BackendNotFound", format!("a port of Service {name} must be named")))?;
        service::unit(&name, port, asked, self.view)
    }

    fn pool(&self, name: Name) -> Result<BackendUnit, service::Problem> {
        let state = self.view.pool(&name);
        state.ok_or_else(|| ("BackendNotFound", format!("InferencePool {name} does not exist")))?;
        // One that cannot be used is used all the same: its status says why, and its requests get 500.
        Ok(BackendUnit::Pool(name))
    }

    fn backend(&self, name: Name, asked: Asked) -> Result<BackendUnit, service::Problem> {
        let state = self.view.backend(&name);
        let state = state.ok_or_else(|| ("BackendNotFound", format!("Backend {name} does not exist")))?;
        if let Some(refused) = &state.refused {
            return Err(("InvalidBackend", format!("Backend {name} cannot be used: {refused}")));
        }
        let lacks = match asked {
            Asked::Http => None,
            _ if state.mcp => Some("is of type MCP, which HTTPRoutes alone can use"),
            _ if state.a2a => Some("is an agent's, which HTTPRoutes alone can use"),
            Asked::Grpc if !state.http2 => Some("does not speak HTTP/2: set spec.static.appProtocol to grpc"),
            Asked::Grpc | Asked::Tcp | Asked::Udp => None,
        };
        match lacks {
            Some(lacks) => Err(("UnsupportedProtocol", format!("Backend {name} {lacks}"))),
            None => Ok(BackendUnit::Object(name)),
        }
    }
}
