//! Policies: one function each, and one for all that a route of the YAML file may carry.

mod api_key;
mod backend_auth;
mod basic_auth;
mod credentials;
mod csrf;
mod direct_response;
mod ext_authz;
mod ext_proc;
mod fault_injection;
mod global_rate_limit;
mod jwt;
mod observability;
mod rate_limit;
mod request_limits;
mod resilience;
mod traffic;
mod transformation;

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::file::{BackendTls, RoutePolicies};
use agentgateway_types::policy::{
    Authorization, Cors, HeaderModifier, PathModifier, RateLimitHeaders, Rbac, RbacAction, RequestRedirect, Rule,
    UrlRewrite,
};

use self::observability::{collector, sink_of_file};
use crate::check;
use crate::error::{Error, Within};

pub use api_key::{api_key, api_key_entry, api_keys};
pub use backend_auth::{
    Credentials as AwsCredentials, aws, backend_auth, from_file as file_backend_auth, key as backend_key,
};
pub use basic_auth::basic_auth;
pub use csrf::csrf;
pub use direct_response::{auto_host_rewrite, direct_response};
pub use ext_authz::{cache as decision_cache, ext_authz};
pub use ext_proc::{ext_proc, processing};
pub use fault_injection::fault_injection;
pub use global_rate_limit::{Asking, envoy, global_rate_limit, made as rate_limit_service, redis};
pub use jwt::{Keys, jwt, key_set, remote_keys};
pub use observability::{Find, Place, access_log, metrics, open_telemetry, tracing};
pub use rate_limit::{local_rate_limit, token_buckets};
pub use request_limits::{concurrency_limit, request_limits};
pub use resilience::{
    backend_policies, circuit_breakers, connection, health_check, load_balancer, outlier_detection, retry_constraint,
};
pub use traffic::{request_mirror, retry, session_persistence, timeout};
pub use transformation::{buffer, transformation};

/// What policies of the YAML file name by its place.
pub trait Lookup {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot.
    fn file(&mut self, path: &str) -> Result<Vec<u8>, String>;

    /// An environment variable; None where it is not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text with its environment variables put in.
    ///
    /// # Errors
    /// Which one is not set, or not written as one.
    fn expand(&self, text: &str) -> Result<String, String>;

    /// The key of a backend for this host, reached with TLS where that is told.
    ///
    /// # Errors
    /// Why there may be none.
    fn backend(&mut self, host: v1::HostBackend, tls: Option<&BackendTls>) -> Result<String, Error>;
}

/// Where rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To requests.
    Http,
    /// To tools, prompts and resources of MCP servers.
    McpItems,
    /// To calls of agents.
    A2aCalls,
}

/// All policies of a route, in the order of their phases.
pub fn route_policies(policies: &RoutePolicies, lookup: &mut dyn Lookup) -> Result<Vec<v1::PolicySpec>, Error> {
    let mut specs = Vec::new();
    let mut push = |field: &'static str, spec: Option<Result<v1::PolicySpec, Error>>| match spec {
        Some(spec) => spec.within(|| Path::of(field)).map(|s| specs.push(s)),
        None => Ok(()),
    };
    push("cors", policies.cors.as_ref().map(cors))?;
    push("csrf", policies.csrf.as_ref().map(csrf))?;
    push("jwtAuth", policies.jwt_auth.as_ref().map(|p| jwt(p, &mut |set| key_set(set, lookup))))?;
    push("basicAuth", policies.basic_auth.as_ref().map(|p| basic_auth::from_file(p, lookup)))?;
    push("apiKey", policies.api_key.as_ref().map(|p| api_key(p, lookup)))?;
    push("extAuthz", policies.ext_authz.as_ref().map(|p| ext_authz(p, &mut |host| lookup.backend(host, None))))?;
    push("authorization", policies.authorization.as_ref().map(|p| authorization(p, Scope::Http)))?;
    push("mcpAuthorization", policies.mcp_authorization.as_ref().map(|p| authorization(p, Scope::McpItems)))?;
    push("a2aAuthorization", policies.a2a_authorization.as_ref().map(|p| authorization(p, Scope::A2aCalls)))?;
    push("faultInjection", policies.fault_injection.as_ref().map(fault_injection))?;
    push("requestLimits", policies.request_limits.as_ref().map(request_limits))?;
    push("concurrencyLimit", policies.concurrency_limit.as_ref().map(concurrency_limit))?;
    push("buffer", policies.buffer.as_ref().map(buffer))?;
    push("extProc", policies.ext_proc.as_ref().map(|p| ext_proc(p, &mut |host| lookup.backend(host, None))))?;
    push("transformation", policies.transformation.as_ref().map(transformation))?;
    push("requestHeaderModifier", policies.request_header_modifier.as_ref().map(request_headers))?;
    push("responseHeaderModifier", policies.response_header_modifier.as_ref().map(response_headers))?;
    push("urlRewrite", policies.url_rewrite.as_ref().map(url_rewrite))?;
    push("requestRedirect", policies.request_redirect.as_ref().map(request_redirect))?;
    push("backendAuth", policies.backend_auth.as_ref().map(|p| backend_auth::from_file(p, lookup)))?;
    push("directResponse", policies.direct_response.as_ref().map(direct_response))?;
    push("autoHostRewrite", policies.auto_host_rewrite.filter(|on| *on).map(|_| Ok(auto_host_rewrite())))?;
    push("timeout", policies.timeout.as_ref().map(timeout))?;
    push("retry", policies.retry.as_ref().map(retry))?;
    push("sessionPersistence", policies.session_persistence.as_ref().map(session_persistence))?;
    push("accessLog", policies.access_log.as_ref().map(|logs| access_log(logs, &mut |s| sink_of_file(s, lookup))))?;
    push(
        "tracing",
        policies.tracing.as_ref().map(|p| tracing(p, &mut |host, version| collector(host, version, lookup))),
    )?;
    push("metrics", policies.metrics.as_ref().map(metrics))?;
    let mut mirror = |p| request_mirror(p, &mut |host| lookup.backend(host, None));
    push("requestMirror", policies.request_mirror.as_ref().map(&mut mirror))?;
    for (i, policy) in policies.request_mirrors.iter().enumerate() {
        specs.push(mirror(policy).within(|| Path::of("requestMirrors").index(i))?);
    }
    if !policies.local_rate_limit.is_empty() {
        let buckets = token_buckets(&policies.local_rate_limit, RateLimitHeaders::Off);
        specs.push(buckets.within(|| Path::of("localRateLimit"))?);
    }
    if let Some(limit) = &policies.rate_limit {
        let (local, global) = (&limit.local, &limit.global);
        if local.is_none() && global.is_none() {
            return Err(Error::NotOne { path: Path::of("rateLimit"), members: "local and global" });
        }
        if let Some(local) = local {
            specs.push(local_rate_limit(local).within(|| Path::of("rateLimit.local"))?);
        }
        if let Some(global) = global {
            specs.push(global_rate_limit(global, lookup).within(|| Path::of("rateLimit.global"))?);
        }
    }
    if policies.url_rewrite.is_some() && policies.request_redirect.is_some() {
        return Err(Error::invalid(Path::of("urlRewrite"), "must not be set together with requestRedirect"));
    }
    if policies.direct_response.is_some() && policies.request_redirect.is_some() {
        return Err(Error::invalid(Path::of("directResponse"), "must not be set together with requestRedirect"));
    }
    Ok(specs)
}

/// Cross-origin resource sharing.
pub fn cors(policy: &Cors) -> Result<v1::PolicySpec, Error> {
    for (i, origin) in policy.allow_origins.iter().enumerate() {
        if !allowed_origin(origin) {
            let reason = format!("{origin:?} is not an origin such as https://example.com, https://*.example.com or *");
            return Err(Error::invalid(Path::of("allowOrigins").index(i), reason));
        }
    }
    let names = |field: &'static str, names: &[String]| {
        let checked = |(i, name): (usize, &String)| check::header_name(Path::of(field).index(i), name);
        names.iter().enumerate().map(checked).collect::<Result<Vec<_>, _>>()
    };
    Ok(spec(Kind::Cors(v1::Cors {
        allow_origins: policy.allow_origins.clone(),
        allow_credentials: policy.allow_credentials.unwrap_or(false),
        allow_methods: names("allowMethods", &policy.allow_methods)?,
        allow_headers: names("allowHeaders", &policy.allow_headers)?,
        expose_headers: names("exposeHeaders", &policy.expose_headers)?,
        max_age_seconds: policy.max_age.unwrap_or(0),
    })))
}

/// Scheme, host with at most one leading wildcard label, and an optional port; or a lone `*`.
fn allowed_origin(origin: &str) -> bool {
    if origin == "*" {
        return true;
    }
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port_ok = port.is_none_or(|p| p == "*" || p.parse::<u16>().is_ok_and(|p| p > 0));
    let bare = host.strip_prefix("*.").unwrap_or(host);
    scheme_ok && port_ok && (host == "*" || check::host(Path::root(), bare).is_ok())
}

/// CEL rules as the YAML file writes them.
pub fn authorization(policy: &Authorization, scope: Scope) -> Result<v1::PolicySpec, Error> {
    let mut rules = v1::Authorization::default();
    for (i, rule) in policy.rules.iter().enumerate() {
        let (list, expression) = match rule {
            Rule { allow: Some(e), deny: None, require: None } => (&mut rules.allow, e),
            Rule { allow: None, deny: Some(e), require: None } => (&mut rules.deny, e),
            Rule { allow: None, deny: None, require: Some(e) } => (&mut rules.require, e),
            _ => {
                let path = Path::of("rules").index(i);
                return Err(Error::NotOne { path, members: "allow, deny and require" });
            }
        };
        list.push(expression.clone());
    }
    if policy.rules.is_empty() {
        return Err(Error::Missing { path: Path::of("rules") });
    }
    Ok(scoped(rules, scope))
}

/// CEL rules as TrafficPolicy writes them; the expressions are alternatives.
pub fn rbac(policy: &Rbac, scope: Scope) -> Result<v1::PolicySpec, Error> {
    let expressions = policy.policy.match_expressions.clone();
    if expressions.is_empty() {
        return Err(Error::Missing { path: Path::of("policy.matchExpressions") });
    }
    let rules = match policy.action {
        RbacAction::Allow => v1::Authorization { allow: expressions, ..v1::Authorization::default() },
        RbacAction::Deny => v1::Authorization { deny: expressions, ..v1::Authorization::default() },
    };
    Ok(scoped(rules, scope))
}

/// Changes to the headers of requests.
pub fn request_headers(policy: &HeaderModifier) -> Result<v1::PolicySpec, Error> {
    header_modifier(policy).map(Kind::RequestHeaderModifier).map(spec)
}

/// Changes to the headers of responses.
pub fn response_headers(policy: &HeaderModifier) -> Result<v1::PolicySpec, Error> {
    header_modifier(policy).map(Kind::ResponseHeaderModifier).map(spec)
}

/// Changes to the URL of requests.
pub fn url_rewrite(policy: &UrlRewrite) -> Result<v1::PolicySpec, Error> {
    Ok(spec(Kind::UrlRewrite(v1::UrlRewrite {
        hostname: hostname(policy.hostname.as_deref())?,
        path: path_modifier(policy.path.as_ref())?,
    })))
}

/// A redirect.
pub fn request_redirect(policy: &RequestRedirect) -> Result<v1::PolicySpec, Error> {
    let scheme = policy.scheme.clone().unwrap_or_default();
    if !matches!(scheme.as_str(), "" | "http" | "https") {
        return Err(Error::invalid(Path::of("scheme"), format!("{scheme:?} is neither http nor https")));
    }
    let status_code = policy.status_code.unwrap_or(302);
    if !matches!(status_code, 301 | 302 | 303 | 307 | 308) {
        let reason = format!("{status_code} is none of 301, 302, 303, 307 and 308");
        return Err(Error::invalid(Path::of("statusCode"), reason));
    }
    Ok(spec(Kind::RequestRedirect(v1::RequestRedirect {
        scheme,
        hostname: hostname(policy.hostname.as_deref())?,
        path: path_modifier(policy.path.as_ref())?,
        port: policy.port.map_or(Ok(0), |p| check::port(Path::of("port"), p))?,
        status_code: status_code.into(),
    })))
}

/// What a policy that protects becomes when it cannot be applied: it refuses every request.
pub fn deny(policy: String, reason: String) -> v1::PolicySpec {
    spec(Kind::Deny(v1::Deny { reason, policy }))
}

fn scoped(rules: v1::Authorization, scope: Scope) -> v1::PolicySpec {
    spec(match scope {
        Scope::Http => Kind::Authorization(rules),
        Scope::McpItems => Kind::McpAuthorization(rules),
        Scope::A2aCalls => Kind::A2aAuthorization(rules),
    })
}

fn header_modifier(policy: &HeaderModifier) -> Result<v1::HeaderModifier, Error> {
    let remove = policy.remove.iter().enumerate();
    Ok(v1::HeaderModifier {
        set: headers("set", &policy.set)?,
        add: headers("add", &policy.add)?,
        remove: remove
            .map(|(i, name)| check::header_name(Path::of("remove").index(i), name))
            .collect::<Result<Vec<_>, _>>()?,
    })
}

fn headers(field: &'static str, headers: &[agentgateway_types::policy::Header]) -> Result<Vec<v1::Header>, Error> {
    let one = |(i, h): (usize, &agentgateway_types::policy::Header)| {
        let at = Path::of(field).index(i);
        let name = check::header_name(at.clone().key("name"), &h.name)?;
        Ok(v1::Header { name, value: check::header_value(at.key("value"), &h.value)? })
    };
    headers.iter().enumerate().map(one).collect()
}

fn hostname(hostname: Option<&str>) -> Result<String, Error> {
    hostname.map_or(Ok(String::new()), |name| check::host(Path::of("hostname"), name))
}

fn path_modifier(path: Option<&PathModifier>) -> Result<Option<v1::PathModifier>, Error> {
    let Some(path) = path else { return Ok(None) };
    let kind = match (&path.full, &path.prefix) {
        (Some(full), None) => v1::path_modifier::Kind::ReplaceFull(new_path(Path::of("path.full"), full)?),
        (None, Some(prefix)) => v1::path_modifier::Kind::ReplacePrefix(new_path(Path::of("path.prefix"), prefix)?),
        _ => return Err(Error::NotOne { path: Path::of("path"), members: "full and prefix" }),
    };
    Ok(Some(v1::PathModifier { kind: Some(kind) }))
}

/// An empty replacement is allowed: it takes the prefix away.
fn new_path(at: Path, path: &str) -> Result<String, Error> {
    if path.is_empty() { Ok(String::new()) } else { check::absolute_path(at, path) }
}

fn spec(kind: Kind) -> v1::PolicySpec {
    v1::PolicySpec { kind: Some(kind) }
}

#[cfg(test)]
mod tests;
