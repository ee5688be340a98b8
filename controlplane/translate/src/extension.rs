//! GatewayExtensions: what policies can use, and their status.

use agentgateway_crds::{
    ExtAuthProvider, ExtProcProvider, ExtensionReference, ExtensionStatus, ExtensionType, GROUP, GatewayExtension,
    RateLimitProvider, ServiceReference,
};

use crate::Name;
use crate::conditions::{Moment, Verdict, merge};
use crate::object::ObjectKind;
use crate::route::Referrer;
use crate::service::Asked;
use crate::unit::BackendUnit;
use crate::view::View;

/// What an extension is for `extAuth`, or why it is nothing.
pub(crate) fn ext_auth(extension: &GatewayExtension) -> Result<&ExtAuthProvider, String> {
    match (extension.spec.extension_type, &extension.spec.ext_auth) {
        (ExtensionType::ExtAuth, Some(provider)) => Ok(provider),
        (ExtensionType::ExtAuth, None) => Err("spec.extAuth: must be set".to_owned()),
        (other, _) => Err(format!("spec.type: is {other:?}, and ExtAuth is needed here")),
    }
}

/// What an extension is for `extProc`, or why it is nothing.
pub(crate) fn ext_proc(extension: &GatewayExtension) -> Result<&ExtProcProvider, String> {
    match (extension.spec.extension_type, &extension.spec.ext_proc) {
        (ExtensionType::ExtProc, Some(provider)) => Ok(provider),
        (ExtensionType::ExtProc, None) => Err("spec.extProc: must be set".to_owned()),
        (other, _) => Err(format!("spec.type: is {other:?}, and ExtProc is needed here")),
    }
}

/// What an extension is for `rateLimit.global`, or why it is nothing.
pub(crate) fn rate_limit(extension: &GatewayExtension) -> Result<&RateLimitProvider, String> {
    match (extension.spec.extension_type, &extension.spec.rate_limit) {
        (ExtensionType::RateLimit, None) => Err("spec.rateLimit: must be set".to_owned()),
        (ExtensionType::RateLimit, Some(provider)) => {
            match (&provider.grpc_service, &provider.redis, &provider.domain) {
                (Some(_), None, Some(_)) | (None, Some(_), None) => Ok(provider),
                (Some(_), None, None) => Err("spec.rateLimit.domain: must be set with grpcService".to_owned()),
                (None, Some(_), Some(_)) => Err("spec.rateLimit.domain: is for grpcService alone".to_owned()),
                _ => Err("spec.rateLimit: exactly one of grpcService and redis must be set".to_owned()),
            }
        }
        (other, _) => Err(format!("spec.type: is {other:?}, and RateLimit is needed here")),
    }
}

/// The extension that a policy names in its field `at`.
pub(crate) fn referenced<'a>(
    reference: &ExtensionReference,
    at: &str,
    policy: &Name,
    view: &View<'a>,
) -> Result<(Name, &'a GatewayExtension), String> {
    let namespace = reference.namespace.as_deref().unwrap_or(&policy.namespace);
    let name = Name::new(namespace, reference.name.clone());
    let kind = ObjectKind::GatewayExtension.kind();
    if !view.granted((ObjectKind::TrafficPolicy, &policy.namespace), GROUP, kind, &name) {
        let (to, from) = (&name.namespace, &policy.namespace);
        return Err(format!(
            "{at}: no ReferenceGrant in namespace {to} allows TrafficPolicies of namespace {from} to use {kind} {}",
            name.name
        ));
    }
    let found = view.extension(&name).ok_or_else(|| format!("{at}: {kind} {name} does not exist"))?;
    Ok((name, found))
}

/// The service of an extension.
pub(crate) fn service(
    reference: &ServiceReference,
    extension: &Name,
    asked: Asked,
    view: &View<'_>,
) -> Result<BackendUnit, String> {
    let backend = reference.to_backend_reference();
    let referrer = Referrer { kind: ObjectKind::GatewayExtension, name: extension, view };
    referrer.resolve(&backend, asked).map_err(|(_, why)| why)
}

/// Why no policy can use it.
fn usable(extension: &GatewayExtension) -> Result<(), String> {
    match extension.spec.extension_type {
        ExtensionType::ExtAuth => ext_auth(extension).map(|_| ()),
        ExtensionType::RateLimit => rate_limit(extension).map(|_| ()),
        ExtensionType::ExtProc => ext_proc(extension).map(|_| ()),
    }
}

/// Whether policies can use it. What its service is, each policy that uses it tells, since that depends on grants.
pub(crate) fn status(
    held: &ExtensionStatus,
    extension: Option<&GatewayExtension>,
    unreadable: Option<&str>,
    given: Option<&ExtensionStatus>,
    at: Moment<'_>,
) -> ExtensionStatus {
    let accepted = match (unreadable, extension.map(usable)) {
        (Some(reason), _) => {
            let message = format!("the object does not fit the types of this release and is not used: {reason}");
            Verdict::no("Accepted", "Invalid", message)
        }
        (None, Some(Err(reason))) => Verdict::no("Accepted", "Invalid", reason),
        (None, Some(Ok(())) | None) => Verdict::yes("Accepted", "Accepted", "policies can use it"),
    };
    let given = given.map(|given| given.conditions.clone()).unwrap_or_default();
    ExtensionStatus { conditions: merge(&held.conditions, &given, &[accepted], &["Accepted"], at) }
}
