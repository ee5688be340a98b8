//! Policies that tell of requests, for the dump.

use agentgateway_proto::key;
use agentgateway_proto::v1::{self, access_log::Sink, policy_spec::Kind};
use serde_json::{Value, json};

pub(super) fn print(spec: &v1::PolicySpec) -> Value {
    match &spec.kind {
        Some(Kind::AccessLogs(logs)) => json!({ "accessLog": logs.logs.iter().map(log).collect::<Vec<_>>() }),
        Some(Kind::Tracing(tracing)) => json!({ "tracing": {
            "openTelemetry": tracing.open_telemetry.as_ref().map(collector),
            "clientSampling": tracing.client_sampling,
            "randomSampling": tracing.random_sampling,
            "overallSampling": tracing.overall_sampling,
            "filter": tracing.filter,
            "attributes": named(&tracing.attributes),
            "incomingContext": if tracing.restart { "Restart" } else { "Continue" },
        } }),
        Some(Kind::Metrics(metrics)) => json!({ "metrics": { "labels": metrics.labels.iter().map(|label| json!({
            "name": label.name, "value": label.expression, "maxValues": label.max_values,
        })).collect::<Vec<_>>() } }),
        _ => Value::Null,
    }
}

fn log(log: &v1::AccessLog) -> Value {
    json!({
        "format": log.format().as_str_name().to_ascii_lowercase(),
        "filter": log.filter,
        "add": named(&log.add),
        "remove": log.remove,
        "sink": match &log.sink {
            None => json!("stdout"),
            Some(Sink::File(path)) => json!({ "file": path }),
            Some(Sink::OpenTelemetry(to)) => json!({ "openTelemetry": collector(to) }),
        },
    })
}

fn named(all: &[v1::NamedExpression]) -> Value {
    all.iter()
        .map(|named| (named.name.clone(), named.expression.clone().into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn collector(to: &v1::OpenTelemetry) -> Value {
    json!({
        "backend": key::print_backend_key(&to.backend_key),
        "protocol": to.protocol().as_str_name().to_ascii_lowercase(),
        "serviceName": to.service_name,
    })
}
