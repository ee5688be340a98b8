//! One BackendTLSPolicy as TLS settings.

use std::collections::BTreeMap;

use agentgateway_crds::{PolicyAncestor, PolicyAncestorRef, PolicyStatus};
use agentgateway_proto::v1::{self, subject_alt_name};
use gateway_api::apis::standard::backendtlspolicies as api;

use crate::Name;
use crate::certificate::{self, Problem, Reference};
use crate::hostname;
use crate::object::ObjectKind;
use crate::view::View;

/// Well-known authorities: those of the system that the proxy runs on.
const SYSTEM: &str = "System";
const OUR_DOMAIN: &str = "gateway.kgateway.dev/";

type Why = (&'static str, String);

/// What a policy becomes, wherever it counts.
#[derive(Debug)]
pub(super) struct Converted {
    /// With [`refused`](v1::BackendTls::refused) when it cannot be applied.
    pub(super) tls: v1::BackendTls,
    pub(super) accepted: Result<(), Why>,
    pub(super) resolved: Result<(), Why>,
}

pub(super) fn convert(name: &Name, policy: &api::BackendTlsPolicy, view: &View<'_>) -> Converted {
    let validation = &policy.spec.validation;
    let references = validation.ca_certificate_refs.as_deref().unwrap_or_default();
    let (mut authorities, mut unresolved): (_, Vec<Why>) = (Vec::new(), Vec::new());
    for (i, reference) in references.iter().enumerate() {
        let reference = Reference {
            group: reference.group.clone(),
            kind: reference.kind.clone(),
            name: Name::new(name.namespace.clone(), reference.name.clone()),
        };
        match certificate::authorities((ObjectKind::BackendTlsPolicy, &name.namespace), &reference, view) {
            Ok(bundle) => authorities.push(bundle),
            Err(problem) => {
                let reason =
                    if matches!(problem, Problem::Kind(_)) { "InvalidKind" } else { "InvalidCACertificateRef" };
                let message = format!("spec.validation.caCertificateRefs[{i}]: {}", problem.message());
                unresolved.push((reason, message));
            }
        }
    }
    let accepted = check(validation, policy.spec.options.as_ref()).and_then(|()| {
        let none = !references.is_empty() && authorities.is_empty();
        let message = "spec.validation: none of the certificates of authorities can be used".to_owned();
        if none { Err(("NoValidCACertificate", message)) } else { Ok(()) }
    });
    let tls = match &accepted {
        Ok(()) => v1::BackendTls {
            hostname: validation.hostname.clone(),
            subject_alt_names: validation.subject_alt_names.iter().flatten().filter_map(alt_name).collect(),
            authorities,
            ..v1::BackendTls::default()
        },
        Err((_, message)) => {
            v1::BackendTls { refused: format!("BackendTLSPolicy {name}: {message}"), ..v1::BackendTls::default() }
        }
    };
    let resolved = match unresolved.first() {
        None => Ok(()),
        Some((reason, _)) => {
            let messages: Vec<&str> = unresolved.iter().map(|(_, message)| message.as_str()).collect();
            Err((*reason, messages.join("; ")))
        }
    };
    Converted { tls, accepted, resolved }
}

fn check(validation: &api::BackendTlsPolicyValidation, options: Option<&BTreeMap<String, String>>) -> Result<(), Why> {
    let invalid = |message: String| Err(("Invalid", message));
    let references = validation.ca_certificate_refs.iter().flatten().next().is_some();
    match validation.well_known_ca_certificates.as_deref().filter(|w| !w.is_empty()) {
        Some(SYSTEM) if !references => {}
        Some(SYSTEM) => {
            return invalid("spec.validation: caCertificateRefs and wellKnownCACertificates exclude each other".into());
        }
        Some(other) => {
            return invalid(format!("spec.validation.wellKnownCACertificates: {other} is not known, {SYSTEM} is"));
        }
        None if references => {}
        None => {
            return invalid("spec.validation: caCertificateRefs or wellKnownCACertificates must be set".to_owned());
        }
    }
    let hostname = &validation.hostname;
    if !hostname::valid(hostname) || hostname.starts_with('*') {
        return invalid(format!("spec.validation.hostname: {hostname:?} is not a host name"));
    }
    if let Some(i) = validation.subject_alt_names.iter().flatten().position(|name| alt_name(name).is_none()) {
        return invalid(format!("spec.validation.subjectAltNames[{i}]: the member that its type names must be set"));
    }
    // Names without a domain are Gateway API's, which defines none; other implementations' are theirs.
    let ours = |name: &&String| name.starts_with(OUR_DOMAIN) || !name.contains('/');
    match options.into_iter().flat_map(BTreeMap::keys).find(ours) {
        Some(option) => invalid(format!("spec.options: {option} is not supported")),
        None => Ok(()),
    }
}

fn alt_name(name: &api::BackendTlsPolicyValidationSubjectAltNames) -> Option<v1::SubjectAltName> {
    use api::BackendTlsPolicyValidationSubjectAltNamesType as Type;
    let written = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let kind = match name.r#type {
        Type::Hostname => subject_alt_name::Kind::Hostname(written(&name.hostname)?),
        Type::Uri => subject_alt_name::Kind::Uri(written(&name.uri)?),
    };
    Some(v1::SubjectAltName { kind: Some(kind) })
}

/// The status that a policy holds, in the form that all policies share.
pub(crate) fn held_status(status: &api::BackendTlsPolicyStatus) -> PolicyStatus {
    let ancestor = |entry: &api::BackendTlsPolicyStatusAncestors| PolicyAncestor {
        ancestor_ref: PolicyAncestorRef {
            group: entry.ancestor_ref.group.clone(),
            kind: entry.ancestor_ref.kind.clone(),
            namespace: entry.ancestor_ref.namespace.clone(),
            name: entry.ancestor_ref.name.clone(),
            section_name: entry.ancestor_ref.section_name.clone(),
            port: entry.ancestor_ref.port,
        },
        controller_name: entry.controller_name.clone(),
        conditions: entry.conditions.clone(),
    };
    PolicyStatus { ancestors: status.ancestors.iter().map(ancestor).collect() }
}
