//! Certificates and bundles of authorities, as objects refer to them: found, permitted, and fit for use.

use agentgateway_proto::v1;
use k8s_openapi::api::core::v1::ConfigMap;
use prost::bytes::Bytes;

use crate::Name;
use crate::object::ObjectKind;
use crate::view::View;

const AUTHORITIES: &str = "ca.crt";

/// A reference to a Secret or a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: Name,
}

/// Why a reference is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It names a kind that it cannot.
    Kind(String),
    /// There is no ReferenceGrant.
    NotPermitted(String),
    /// What it names is not there, or is not what it should be.
    Invalid(String),
}

impl Problem {
    pub(crate) fn message(&self) -> &str {
        match self {
            Problem::Kind(message) | Problem::NotPermitted(message) | Problem::Invalid(message) => message,
        }
    }
}

/// The certificate and key in a Secret that an object of kind and namespace `from` refers to.
pub(crate) fn key_pair(
    from: (ObjectKind, &str),
    reference: &Reference,
    view: &View<'_>,
) -> Result<v1::Certificate, Problem> {
    let name = &reference.name;
    if (reference.group.as_str(), reference.kind.as_str()) != ("", ObjectKind::Secret.kind()) {
        return Err(other_kind(reference, "only Secret can hold a certificate"));
    }
    permitted(from, reference, view)?;
    let absent = || Problem::Invalid(format!("Secret {name} does not exist or cannot be read"));
    let pair = view.secret(name).ok_or_else(absent)?.key_pair();
    pair.clone().map_err(|problem| Problem::Invalid(format!("Secret {name} {problem}")))
}

/// The authorities in a ConfigMap or Secret that an object of kind and namespace `from` refers to.
pub(crate) fn authorities(from: (ObjectKind, &str), reference: &Reference, view: &View<'_>) -> Result<Bytes, Problem> {
    let (name, kind) = (&reference.name, reference.kind.as_str());
    let secret = kind == ObjectKind::Secret.kind();
    if !reference.group.is_empty() || (!secret && kind != ObjectKind::ConfigMap.kind()) {
        return Err(other_kind(reference, "only ConfigMap and Secret can hold certificates of authorities"));
    }
    permitted(from, reference, view)?;
    let unreadable = || Problem::Invalid(format!("{kind} {name} does not exist or cannot be read"));
    let content = if secret {
        view.secret(name).ok_or_else(unreadable)?.get(AUTHORITIES).map(Bytes::copy_from_slice)
    } else {
        in_config_map(view.config_map(name).ok_or_else(unreadable)?)
    };
    let bundle = content.ok_or_else(|| Problem::Invalid(format!("{kind} {name} has no key {AUTHORITIES}")))?;
    match agentgateway_tls::authorities(std::slice::from_ref(&bundle)) {
        Ok(_) => Ok(bundle),
        Err(error) => Err(Problem::Invalid(format!("{AUTHORITIES} of {kind} {name} cannot be used: {error}"))),
    }
}

fn in_config_map(map: &ConfigMap) -> Option<Bytes> {
    let text = map.data.as_ref().and_then(|data| data.get(AUTHORITIES)).map(|text| Bytes::from(text.clone()));
    text.or_else(|| map.binary_data.as_ref()?.get(AUTHORITIES).map(|bytes| Bytes::from(bytes.0.clone())))
}

fn permitted(from: (ObjectKind, &str), reference: &Reference, view: &View<'_>) -> Result<(), Problem> {
    let Reference { group, kind, name } = reference;
    if view.granted(from, group, kind, name) {
        return Ok(());
    }
    let (from_kind, from_namespace) = (from.0.kind(), from.1);
    Err(Problem::NotPermitted(format!(
        "no ReferenceGrant in namespace {} allows {from_kind}s of namespace {from_namespace} to use {kind} {}",
        name.namespace, name.name
    )))
}

fn other_kind(reference: &Reference, can: &str) -> Problem {
    Problem::Kind(format!("kind {} of group {:?}: {can}", reference.kind, reference.group))
}
