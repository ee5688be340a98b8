//! transformation: its expressions are compiled here, so that the condition needs no proxy.

use agentgateway_convert::policy as convert;
use agentgateway_expression::{Expression, Scope};
use agentgateway_proto::v1;
use agentgateway_types::policy::{HeaderTransformation, MessageTransformation, Transformation};

use super::wrong;

pub(super) fn transformation(config: &Transformation) -> Result<v1::PolicySpec, String> {
    let parts = [("request", &config.request, Scope::Request), ("response", &config.response, Scope::Response)];
    for (name, part, scope) in parts {
        if let Some(part) = part {
            compile(part, scope).map_err(|error| format!("spec.transformation.{name}.{error}"))?;
        }
    }
    convert::transformation(config).map_err(|e| wrong("spec.transformation", e))
}

fn compile(part: &MessageTransformation, scope: Scope) -> Result<(), String> {
    let each = |field: &str, headers: &[HeaderTransformation]| {
        headers.iter().enumerate().try_for_each(|(i, header)| {
            let compiled = Expression::compile_for(&header.value, scope).map(drop);
            compiled.map_err(|error| format!("{field}[{i}].value: {error}"))
        })
    };
    each("set", &part.set)?;
    each("add", &part.add)?;
    part.metadata.iter().try_for_each(|(name, value)| {
        let compiled = Expression::compile_for(value, scope).map(drop);
        compiled.map_err(|error| format!("metadata.{name}: {error}"))
    })?;
    let body = part.body.as_ref().and_then(|body| body.value.as_deref());
    let compiled = body.map_or(Ok(()), |value| Expression::compile_for(value, scope).map(drop));
    compiled.map_err(|error| format!("body.value: {error}"))
}
