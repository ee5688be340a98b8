//! extProc: a GatewayExtension says which service is asked, and how.

use agentgateway_convert::policy::processing;
use agentgateway_crds::{ExtProcPolicy, ExtProcProvider};
use agentgateway_expression::{Expression, Scope};
use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::policy::ExtProc;

use super::{Made, wrong};
use crate::Name;
use crate::extension;
use crate::object::ObjectKind;
use crate::service::Asked;
use crate::view::View;

pub(super) fn ext_proc(config: &ExtProcPolicy, policy: &Name, view: &View<'_>) -> Result<Made, String> {
    let (at, kind) = ("spec.extProc.extensionRef", ObjectKind::GatewayExtension.kind());
    let (name, found) = extension::referenced(&config.extension_ref, at, policy, view)?;
    let of_extension = |reason: String| format!("{at}: {kind} {name}: {reason}");
    let provider = extension::ext_proc(found).map_err(of_extension)?;
    let service = &provider.grpc_service;
    let unit = extension::service(&service.backend_ref, &name, Asked::Grpc, view)
        .map_err(|why| of_extension(format!("spec.extProc.grpcService.backendRef: {why}")))?;

    let mut settings = settings(provider);
    if let Some(mode) = config.processing_mode {
        settings.processing_mode = Some(mode);
    }
    for (field, scope, all) in [
        ("requestAttributes", Scope::Rule, &settings.request_attributes),
        ("responseAttributes", Scope::Response, &settings.response_attributes),
    ] {
        if let Some(why) = all.iter().find_map(|source| unusable(source, scope)) {
            return Err(of_extension(format!("spec.extProc.{field}: {why}")));
        }
    }
    let made = processing(&settings).map_err(|error| of_extension(wrong("spec.extProc", error)))?;
    let spec = v1::ExternalProcessing {
        backend_key: unit.key(),
        authority: service.authority.clone().unwrap_or_default(),
        ..made
    };
    let spec = v1::PolicySpec { kind: Some(Kind::ExternalProcessing(spec)) };
    Ok(Made { uses: Some(unit), ..Made::from(spec) })
}

/// As the file would say it, but for the host.
fn settings(provider: &ExtProcProvider) -> ExtProc {
    let provider = provider.clone();
    ExtProc {
        host: String::new(),
        processing_mode: provider.processing_mode,
        fail_open: provider.fail_open,
        message_timeout: provider.message_timeout.or(provider.grpc_service.request_timeout),
        max_message_timeout: provider.max_message_timeout,
        allow_mode_override: provider.allow_mode_override,
        observability_mode: provider.observability_mode,
        request_attributes: provider.request_attributes,
        response_attributes: provider.response_attributes,
        metadata_options: provider.metadata_options,
        mutation_rules: provider.mutation_rules,
        max_body_size: provider.max_body_size,
    }
}

/// Why an expression cannot be an attribute.
fn unusable(source: &str, scope: Scope) -> Option<String> {
    match Expression::compile_for(source, scope) {
        Ok(expression) if expression.uses_mcp() || expression.uses_body() => {
            Some(format!("{source:?}: neither mcp nor bodies are known here"))
        }
        Ok(_) => None,
        Err(error) => Some(format!("{source:?}: {error}")),
    }
}
