//! Limits in the dump; passwords are left out.

use agentgateway_proto::key;
use agentgateway_proto::v1::{self, global_rate_limit::Service, policy_spec::Kind};
use serde_json::{Value, json};

/// A policy that limits.
pub(super) fn print(spec: &v1::PolicySpec) -> Value {
    match &spec.kind {
        Some(Kind::LocalRateLimit(limit)) => {
            let buckets: Vec<_> = std::iter::once(limit).chain(&limit.also).map(bucket).collect();
            json!({ "localRateLimit": buckets })
        }
        Some(Kind::GlobalRateLimit(limit)) => json!({ "globalRateLimit": {
            "backend": key::print_backend_key(&limit.backend_key),
            "failOpen": limit.fail_open,
            "timeoutMilliseconds": limit.timeout_milliseconds,
            "service": match &limit.service {
                Some(Service::Envoy(envoy)) => json!({ "envoy": {
                    "domain": envoy.domain,
                    "descriptors": envoy.descriptors.iter().map(descriptor).collect::<Vec<_>>(),
                } }),
                Some(Service::Redis(redis)) => json!({ "redis": {
                    "name": redis.prefix,
                    "buckets": redis.buckets.iter().map(bucket).collect::<Vec<_>>(),
                } }),
                None => Value::Null,
            },
        } }),
        Some(Kind::ConcurrencyLimit(limit)) => json!({ "concurrencyLimit": {
            "maxRequests": limit.max_requests,
            "key": limit.key,
        } }),
        Some(Kind::RequestLimits(limits)) => json!({ "requestLimits": {
            "maxBodyBytes": limits.max_body_bytes,
            "maxHeaderBytes": limits.max_header_bytes,
            "maxHeaders": limits.max_headers,
        } }),
        _ => Value::Null,
    }
}

fn bucket(bucket: &v1::LocalRateLimit) -> Value {
    json!({
        "maxTokens": bucket.max_tokens,
        "tokensPerFill": bucket.tokens_per_fill,
        "fillIntervalMilliseconds": bucket.fill_interval_milliseconds,
        "key": bucket.key,
        "unit": bucket.unit().as_str_name().to_ascii_lowercase(),
    })
}

fn descriptor(descriptor: &v1::global_rate_limit::Descriptor) -> Value {
    json!({
        "entries": descriptor.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(),
        "unit": descriptor.unit().as_str_name().to_ascii_lowercase(),
    })
}
