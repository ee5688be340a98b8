//! What a Gateway asks of the certificates of clients (`spec.tls.frontend`), for all its HTTPS listeners or those of a port.

use std::collections::BTreeMap;

use gateway_api::apis::experimental::gateways as api;

use super::tls::{Authorities, Why};
use crate::Name;
use crate::certificate::{self, Problem, Reference};
use crate::object::ObjectKind;
use crate::view::View;

/// What is asked of the certificates of clients.
#[derive(Debug, Default)]
pub(super) struct Validation {
    /// Those that can be used.
    pub(super) authorities: Authorities,
    /// Connections without a valid certificate are served, too.
    pub(super) insecure: bool,
    pub(super) unresolved: Vec<Why>,
}

/// The validation of each port.
#[derive(Debug, Default)]
pub(super) struct Frontend {
    default: Option<Validation>,
    ports: BTreeMap<i32, Option<Validation>>,
}

impl Frontend {
    pub(super) fn of(gateway: &api::Gateway, name: &Name, view: &View<'_>) -> Frontend {
        let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else {
            return Frontend::default();
        };
        let default = frontend.default.validation.as_ref().map(|v| {
            let insecure = v.mode == Some(api::GatewayTlsFrontendDefaultValidationMode::AllowInsecureFallback);
            let refs = v.ca_certificate_refs.iter().map(|r| (&r.group, &r.kind, r.namespace.as_deref(), &r.name));
            validation("spec.tls.frontend.default", refs, insecure, name, view)
        });
        let per_port = frontend.per_port.iter().flatten().map(|config| {
            let made = config.tls.validation.as_ref().map(|v| {
                let insecure = v.mode == Some(api::GatewayTlsFrontendPerPortTlsValidationMode::AllowInsecureFallback);
                let refs = v.ca_certificate_refs.iter().map(|r| (&r.group, &r.kind, r.namespace.as_deref(), &r.name));
                validation(&format!("spec.tls.frontend.perPort[port {}]", config.port), refs, insecure, name, view)
            });
            (config.port, made)
        });
        Frontend { default, ports: per_port.collect() }
    }

    /// What a port asks for; its own setting stands in place of the default, also when it asks for nothing.
    pub(super) fn on(&self, port: i32) -> Option<&Validation> {
        self.ports.get(&port).map_or(self.default.as_ref(), Option::as_ref)
    }

    /// Whether connections without a valid certificate are served somewhere that asks for one.
    pub(super) fn insecure(&self) -> bool {
        self.default.iter().chain(self.ports.values().flatten()).any(|v| v.insecure)
    }
}

fn validation<'a>(
    at: &str,
    references: impl Iterator<Item = (&'a String, &'a String, Option<&'a str>, &'a String)>,
    insecure: bool,
    gateway: &Name,
    view: &View<'_>,
) -> Validation {
    let mut made = Validation { insecure, ..Validation::default() };
    for (i, (group, kind, namespace, name)) in references.enumerate() {
        let name = Name::new(namespace.unwrap_or(&gateway.namespace), name.clone());
        let reference = Reference { group: group.clone(), kind: kind.clone(), name };
        match certificate::authorities((ObjectKind::Gateway, &gateway.namespace), &reference, view) {
            Ok(bundle) => made.authorities.push(bundle),
            Err(problem) => {
                let reason = match problem {
                    Problem::Kind(_) => "InvalidCACertificateKind",
                    Problem::NotPermitted(_) => "RefNotPermitted",
                    Problem::Invalid(_) => "InvalidCACertificateRef",
                };
                let message = format!("{at}.validation.caCertificateRefs[{i}]: {}", problem.message());
                made.unresolved.push((reason, message));
            }
        }
    }
    made
}
