//! accessLog, tracing and metrics: what is told of requests. None of it protects, so what cannot be applied is left out.

use agentgateway_convert::Error;
use agentgateway_convert::policy::{self as convert, Place};
use agentgateway_crds::{CollectorSink, GrpcService, TrafficPolicySpec};
use agentgateway_expression::{Expression, Scope};
use agentgateway_proto::v1::{self, access_log, policy_spec::Kind};
use agentgateway_types::Path;

use super::{Fields, invalid, wrong};
use crate::Name;
use crate::object::ObjectKind;
use crate::route::Referrer;
use crate::service::Asked;
use crate::unit::BackendUnit;
use crate::view::View;

pub(super) fn specs(spec: &TrafficPolicySpec, policy: &Name, view: &View<'_>, fields: &mut Fields<'_>) {
    if let Some(logs) = &spec.access_log {
        let mut uses = None;
        let mut sink = |sink: &CollectorSink| {
            let find = &mut |service: &GrpcService, version| collector(service, version, policy, view, &mut uses);
            let made = convert::open_telemetry(&sink.open_telemetry, find);
            made.map(access_log::Sink::OpenTelemetry).map_err(|e| e.within(Path::of("openTelemetry")))
        };
        let made = convert::access_log(logs, &mut sink).map_err(|e| wrong("spec.accessLog", e));
        fields.observing("accessLog", made.and_then(checked("spec.accessLog")), uses);
    }
    if let Some(config) = &spec.tracing {
        let mut uses = None;
        let find = &mut |service: &GrpcService, version| collector(service, version, policy, view, &mut uses);
        let made = convert::tracing(config, find).map_err(|e| wrong("spec.tracing", e));
        fields.observing("tracing", made.and_then(checked("spec.tracing")), uses);
    }
    if let Some(config) = &spec.metrics {
        let made = convert::metrics(config).map_err(|e| wrong("spec.metrics", e));
        fields.observing("metrics", made.and_then(checked("spec.metrics")), None);
    }
}

fn collector(
    service: &GrpcService,
    version: v1::HttpVersion,
    policy: &Name,
    view: &View<'_>,
    uses: &mut Option<BackendUnit>,
) -> Result<Place, Error> {
    let asked = if version == v1::HttpVersion::H2c { Asked::Grpc } else { Asked::Http };
    let reference = service.backend_ref.to_backend_reference();
    let referrer = Referrer { kind: ObjectKind::TrafficPolicy, name: policy, view };
    let unit = referrer.resolve(&reference, asked).map_err(|(_, why)| invalid("backendRef", why))?;
    let backend_key = unit.key();
    *uses = Some(unit);
    Ok(Place { backend_key, authority: service.authority.clone(), timeout: service.request_timeout })
}

/// Refuses expressions that the proxy would refuse.
fn checked(at: &'static str) -> impl Fn(v1::PolicySpec) -> Result<v1::PolicySpec, String> {
    move |spec| {
        for (field, source, scope) in expressions(&spec) {
            let expression = Expression::compile_for(source, scope);
            let expression = expression.map_err(|error| format!("{at}{field}: {error}"))?;
            if expression.uses_mcp() {
                return Err(format!("{at}{field}: mcp is not known here"));
            }
        }
        Ok(spec)
    }
}

/// Expressions with where they stand.
fn expressions(spec: &v1::PolicySpec) -> Vec<(String, &str, Scope)> {
    let mut all: Vec<(String, &str, Scope)> = Vec::new();
    match &spec.kind {
        Some(Kind::AccessLogs(logs)) => {
            for (i, log) in logs.logs.iter().enumerate() {
                all.push((format!("[{i}].filter"), &log.filter, Scope::Record));
                let add = log.add.iter();
                all.extend(add.map(|add| (format!("[{i}].add.{}", add.name), &*add.expression, Scope::Record)));
            }
        }
        Some(Kind::Tracing(tracing)) => {
            all.push((".filter".to_owned(), &tracing.filter, Scope::Rule));
            let attributes = tracing.attributes.iter();
            all.extend(attributes.map(|a| (format!(".attributes.{}", a.name), &*a.expression, Scope::Record)));
        }
        Some(Kind::Metrics(metrics)) => {
            let labels = metrics.labels.iter();
            all.extend(labels.map(|label| (format!(".labels.{}", label.name), &*label.expression, Scope::Record)));
        }
        _ => {}
    }
    all.retain(|(_, source, _)| !source.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_log_that_they_are_of() {
        let log = |filter: &str| v1::AccessLog { filter: filter.into(), ..v1::AccessLog::default() };
        let logs = v1::AccessLogs { logs: vec![log("response.code == 200"), log("response.cod == 200")] };
        let spec = v1::PolicySpec { kind: Some(Kind::AccessLogs(logs)) };
        let error = checked("spec.accessLog")(spec).expect_err("is refused");
        assert!(error.starts_with("spec.accessLog[1].filter: "), "{error}");
    }
}
