//! extAuth: a GatewayExtension says which service is asked.

use agentgateway_convert::policy::decision_cache;
use agentgateway_crds::ExtAuth;
use agentgateway_proto::v1::{self, external_authorization::Protocol, policy_spec::Kind};
use agentgateway_types::Duration;

use super::{Made, wrong};
use crate::Name;
use crate::extension;
use crate::object::ObjectKind;
use crate::service::Asked;
use crate::view::View;

pub(super) fn ext_auth(config: &ExtAuth, policy: &Name, view: &View<'_>) -> Result<Made, String> {
    let (at, kind) = ("spec.extAuth.extensionRef", ObjectKind::GatewayExtension.kind());
    let (name, found) = extension::referenced(&config.extension_ref, at, policy, view)?;
    let of_extension = |reason: String| format!("{at}: {kind} {name}: {reason}");
    let provider = extension::ext_auth(found).map_err(of_extension)?;
    let service = &provider.grpc_service;
    let unit = extension::service(&service.backend_ref, &name, Asked::Grpc, view)
        .map_err(|why| of_extension(format!("spec.extAuth.grpcService.backendRef: {why}")))?;

    let body = config.with_request_body.or(provider.with_request_body);
    let cache = provider.cache.as_ref().map(|cache| decision_cache(cache, body.is_some())).transpose();
    let cache = cache.map_err(|e| of_extension(wrong("spec.extAuth.cache", e)))?;
    if let Some(key) = cache.as_ref().and_then(|cache| cache.key.iter().find_map(|key| unusable(key))) {
        return Err(of_extension(format!("spec.extAuth.cache.key: {key}")));
    }
    let status = provider.status_on_error.unwrap_or_default();
    if !matches!(status, 0 | 400..=599) {
        return Err(of_extension(format!("spec.extAuth.statusOnError: {status} is no status of an error")));
    }
    let spec = v1::ExternalAuthorization {
        backend_key: unit.key(),
        protocol: Some(Protocol::Grpc(v1::external_authorization::Grpc {
            allowed_headers: Vec::new(),
            context_extensions: config.context_extensions.clone(),
            authority: service.authority.clone().unwrap_or_default(),
        })),
        forward_body_bytes: body.map_or(0, |body| body.max_request_bytes),
        allow_partial_body: body.and_then(|body| body.allow_partial_message).unwrap_or(false),
        timeout_milliseconds: service.request_timeout.map(Duration::milliseconds),
        fail_open: provider.fail_open.unwrap_or(false),
        status_on_error: status.into(),
        cache,
    };
    let spec = v1::PolicySpec { kind: Some(Kind::ExternalAuthorization(spec)) };
    Ok(Made { uses: Some(unit), ..Made::from(spec) })
}

/// Why an expression over requests cannot be used.
pub(super) fn unusable(key: &str) -> Option<String> {
    match agentgateway_expression::Expression::compile(key) {
        Ok(expression) => expression.subject().map(|subject| format!("{key:?}: {subject} is not known here")),
        Err(error) => Some(format!("{key:?}: {error}")),
    }
}
