//! rateLimit, concurrencyLimit and requestLimits. A GatewayExtension says which service counts for all proxies.

use agentgateway_convert::policy::{self as convert, Asking};
use agentgateway_crds::{RedisService, SharedRateLimit, TrafficPolicySpec};
use agentgateway_proto::v1::{self, global_rate_limit as global, policy_spec::Kind};

use super::ext_auth::unusable;
use super::{Fields, Made, secret_text, wrong};
use crate::Name;
use crate::extension;
use crate::object::ObjectKind;
use crate::service::Asked;
use crate::view::View;

/// The key of a Secret where none is named.
const PASSWORD: &str = "password";

pub(super) fn specs(spec: &TrafficPolicySpec, policy: &Name, view: &View<'_>, fields: &mut Fields<'_>) {
    if let Some(limits) = &spec.request_limits {
        let made = convert::request_limits(limits).map_err(|e| wrong("spec.requestLimits", e));
        fields.protected("requestLimits", made.map(Made::from));
    }
    if let Some(limit) = &spec.concurrency_limit {
        let made = convert::concurrency_limit(limit).map_err(|e| wrong("spec.concurrencyLimit", e));
        fields.protected("concurrencyLimit", made.and_then(checked("spec.concurrencyLimit")).map(Made::from));
    }
    let Some(limit) = &spec.rate_limit else { return };
    if let Some(local) = &limit.local {
        let made = convert::local_rate_limit(local).map_err(|e| wrong("spec.rateLimit.local", e));
        fields.protected("rateLimit", made.and_then(checked("spec.rateLimit.local")).map(Made::from));
    }
    if let Some(config) = &limit.global {
        fields.protected("rateLimit.global", shared(config, policy, view));
    }
    if limit.local.is_none() && limit.global.is_none() {
        fields.protected("rateLimit", Err("spec.rateLimit: at least one of local and global must be set".to_owned()));
    }
}

fn shared(config: &SharedRateLimit, policy: &Name, view: &View<'_>) -> Result<Made, String> {
    let (at, kind) = ("spec.rateLimit.global.extensionRef", ObjectKind::GatewayExtension.kind());
    let (name, found) = extension::referenced(&config.extension_ref, at, policy, view)?;
    let of_extension = |reason: String| format!("{at}: {kind} {name}: {reason}");
    let provider = extension::rate_limit(found).map_err(of_extension)?;
    let of_policy = |e| wrong("spec.rateLimit.global", e);
    let mut asking = Asking {
        timeout: provider.timeout,
        fail_open: provider.fail_open.unwrap_or(false),
        headers: provider.x_rate_limit_headers.unwrap_or_default(),
    };
    let (unit, service) = match (&provider.grpc_service, &provider.redis, &config.descriptors, &config.buckets) {
        (Some(grpc), _, Some(descriptors), None) => {
            asking.timeout = asking.timeout.or(grpc.request_timeout);
            let unit = extension::service(&grpc.backend_ref, &name, Asked::Grpc, view)
                .map_err(|why| of_extension(format!("spec.rateLimit.grpcService.backendRef: {why}")))?;
            let authority = grpc.authority.clone().unwrap_or_default();
            let domain = provider.domain.as_deref().unwrap_or_default();
            (unit, global::Service::Envoy(convert::envoy(domain, descriptors, authority).map_err(of_policy)?))
        }
        (_, Some(redis), None, Some(buckets)) => {
            let unit = extension::service(&redis.backend_ref, &name, Asked::Tcp, view)
                .map_err(|why| of_extension(format!("spec.rateLimit.redis.backendRef: {why}")))?;
            let login = login(redis, &name, view).map_err(of_extension)?;
            let own = format!("TrafficPolicy/{policy}");
            let database = redis.database.unwrap_or(0);
            (unit, global::Service::Redis(convert::redis(&own, buckets, login, database).map_err(of_policy)?))
        }
        (Some(_), ..) => {
            return Err(of_extension("it is Envoy's service, which is asked about descriptors".to_owned()));
        }
        _ => return Err(of_extension("it is Redis, which keeps buckets".to_owned())),
    };
    let spec = convert::rate_limit_service(unit.key(), service, asking);
    let spec = spec.map_err(|e| of_extension(wrong("spec.rateLimit", e)))?;
    let spec = checked("spec.rateLimit.global")(spec)?;
    Ok(Made { uses: Some(unit), ..Made::from(spec) })
}

fn login(redis: &RedisService, extension: &Name, view: &View<'_>) -> Result<(String, String), String> {
    let password = match &redis.password {
        None => String::new(),
        Some(source) => {
            let key = source.secret_ref.key.as_deref().unwrap_or(PASSWORD);
            secret_text(extension, &source.secret_ref.name, key, view)
                .map_err(|why| format!("spec.rateLimit.redis.password: {why}"))?
        }
    };
    Ok((redis.username.clone().unwrap_or_default(), password.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Refuses expressions that the proxy would refuse.
fn checked(at: &'static str) -> impl Fn(v1::PolicySpec) -> Result<v1::PolicySpec, String> {
    move |spec| match expressions(&spec).into_iter().find_map(unusable) {
        Some(why) => Err(format!("{at}: {why}")),
        None => Ok(spec),
    }
}

fn expressions(spec: &v1::PolicySpec) -> Vec<&str> {
    match &spec.kind {
        Some(Kind::LocalRateLimit(limit)) => std::iter::once(limit).chain(&limit.also).flat_map(of_bucket).collect(),
        Some(Kind::ConcurrencyLimit(limit)) => limit.key.iter().map(String::as_str).collect(),
        Some(Kind::GlobalRateLimit(v1::GlobalRateLimit { service: Some(service), .. })) => match service {
            global::Service::Redis(redis) => redis.buckets.iter().flat_map(of_bucket).collect(),
            global::Service::Envoy(envoy) => {
                let entries = envoy.descriptors.iter().flat_map(|descriptor| &descriptor.entries);
                let of_entries = entries.filter_map(|entry| match &entry.kind {
                    Some(global::entry::Kind::Expression(source)) => Some(source.as_str()),
                    _ => None,
                });
                let costs = envoy.descriptors.iter().map(|descriptor| descriptor.cost.as_str());
                of_entries.chain(costs.filter(|cost| !cost.is_empty())).collect()
            }
        },
        _ => Vec::new(),
    }
}

fn of_bucket(bucket: &v1::LocalRateLimit) -> impl Iterator<Item = &str> {
    bucket.key.iter().chain(Some(&bucket.cost).filter(|cost| !cost.is_empty())).map(String::as_str)
}
