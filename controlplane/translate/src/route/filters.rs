//! Filters of HTTPRoutes and GRPCRoutes as policies. A filter that is not supported is an error, never left out.

mod extension;
mod read;

use agentgateway_convert::policy;
use agentgateway_crds::BackendReference;
use agentgateway_proto::v1::{self, external_authorization::Protocol, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{Cors, HeaderModifier, RequestRedirect, UrlRewrite};

use super::backends::Referrer;
use super::rule::{Problem, Rule};
use crate::object::ObjectKind;
use crate::service::Asked;

/// A filter, from wherever in a route it is: Gateway API has the same filters on rules and on backend references of two kinds
/// of route, but the types of each are their own.
#[derive(Default)]
pub(super) struct Filter {
    kind: &'static str,
    request_headers: Option<HeaderModifier>,
    response_headers: Option<HeaderModifier>,
    redirect: Option<RequestRedirect>,
    rewrite: Option<UrlRewrite>,
    cors: Option<Cors>,
    mirror: Option<Mirror>,
    external_auth: Option<ExternalAuth>,
    extension: Option<ExtensionRef>,
}

/// What a filter of type ExtensionRef names, in the route's namespace.
#[derive(Clone, PartialEq, Eq)]
struct ExtensionRef {
    group: String,
    kind: String,
    name: String,
}

struct Mirror {
    to: BackendReference,
    percent: Option<i32>,
    /// Numerator and denominator.
    fraction: Option<(i32, Option<i32>)>,
}

struct ExternalAuth {
    service: BackendReference,
    protocol: Protocol,
    body_bytes: Option<i64>,
}

/// The policies of a list of filters. What is wrong with them is noted at the rule.
pub(super) fn convert(
    filters: impl Iterator<Item = Filter>,
    at: &Path,
    referrer: Referrer<'_>,
    rule: &mut Rule,
) -> Vec<v1::PolicySpec> {
    let (mut specs, mut kinds, mut extensions) = (Vec::new(), Vec::new(), Vec::new());
    for (i, filter) in filters.enumerate() {
        let at = at.clone().index(i);
        if filter.kind == "ExtensionRef" {
            extension::convert(&filter.extension, &mut extensions, &at, referrer, rule, &mut specs);
            continue;
        }
        // Requests may be copied to several backends.
        if filter.kind != "RequestMirror" && kinds.contains(&filter.kind) {
            rule.problems.push(Problem::unsupported(format!("{at}: a second filter of type {}", filter.kind)));
            continue;
        }
        kinds.push(filter.kind);
        match convert_one(&filter, &at, referrer, rule) {
            Ok(spec) => specs.push(spec),
            Err(problem) => rule.problems.push(problem),
        }
    }
    if kinds.contains(&"RequestRedirect") && kinds.contains(&"URLRewrite") {
        let message = format!("{at}: RequestRedirect and URLRewrite exclude each other");
        rule.problems.push(Problem::new("IncompatibleFilters", message));
    }
    if extensions.iter().any(ExtensionRef::is_response) && kinds.contains(&"RequestRedirect") {
        let message = format!("{at}: RequestRedirect and DirectResponse exclude each other");
        rule.problems.push(Problem::new("IncompatibleFilters", message));
    }
    specs
}

fn convert_one(filter: &Filter, at: &Path, referrer: Referrer<'_>, rule: &mut Rule) -> Result<v1::PolicySpec, Problem> {
    fn part<'a, T>(config: &'a Option<T>, member: &'static str, at: &Path) -> Result<(&'a T, Path), Problem> {
        let at = at.clone().key(member);
        match config {
            Some(config) => Ok((config, at)),
            None => Err(Problem::unsupported(format!("{at}: must be set"))),
        }
    }
    match filter.kind {
        "RequestHeaderModifier" => {
            let (config, at) = part(&filter.request_headers, "requestHeaderModifier", at)?;
            policy::request_headers(config).map_err(|e| Problem::wrong(at, e))
        }
        "ResponseHeaderModifier" => {
            let (config, at) = part(&filter.response_headers, "responseHeaderModifier", at)?;
            policy::response_headers(config).map_err(|e| Problem::wrong(at, e))
        }
        "RequestRedirect" => {
            let (config, at) = part(&filter.redirect, "requestRedirect", at)?;
            policy::request_redirect(config).map_err(|e| Problem::wrong(at, e))
        }
        "URLRewrite" => {
            let (config, at) = part(&filter.rewrite, "urlRewrite", at)?;
            policy::url_rewrite(config).map_err(|e| Problem::wrong(at, e))
        }
        "CORS" => {
            let (config, at) = part(&filter.cors, "cors", at)?;
            policy::cors(config).map_err(|e| Problem::wrong(at, e))
        }
        "RequestMirror" => {
            let (config, at) = part(&filter.mirror, "requestMirror", at)?;
            mirror(config, &at, referrer, rule)
        }
        "ExternalAuth" => {
            let (config, at) = part(&filter.external_auth, "externalAuth", at)?;
            external_auth(config, &at, referrer, rule)
        }
        other => Err(Problem::unsupported(format!("{at}: a filter of type {other} is not supported"))),
    }
}

/// A mirror that leads nowhere costs a condition; requests are served all the same.
fn mirror(config: &Mirror, at: &Path, referrer: Referrer<'_>, rule: &mut Rule) -> Result<v1::PolicySpec, Problem> {
    let share = |numerator: i32, denominator: i32| match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(numerator), Ok(denominator)) if denominator > 0 && numerator <= denominator => Ok((numerator, denominator)),
        _ => Err(Problem::unsupported(format!("{at}: {numerator} of {denominator} is no share of the requests"))),
    };
    let (numerator, denominator) = match (config.percent, config.fraction) {
        (None, None) => (0, 0),
        (Some(percent), None) => share(percent, 100)?,
        (None, Some((numerator, denominator))) => share(numerator, denominator.unwrap_or(100))?,
        (Some(_), Some(_)) => {
            return Err(Problem::unsupported(format!("{at}: percent and fraction exclude each other")));
        }
    };
    let asked = if referrer.kind == ObjectKind::GrpcRoute { Asked::Grpc } else { Asked::Http };
    let backend_key = referrer.key(&config.to, asked, &at.clone().key("backendRef"), rule);
    let kind = Kind::RequestMirror(v1::RequestMirror { backend_key, numerator, denominator });
    Ok(v1::PolicySpec { kind: Some(kind) })
}

/// A service that cannot be asked refuses every request.
fn external_auth(
    config: &ExternalAuth,
    at: &Path,
    referrer: Referrer<'_>,
    rule: &mut Rule,
) -> Result<v1::PolicySpec, Problem> {
    let asked = if matches!(config.protocol, Protocol::Grpc(_)) { Asked::Grpc } else { Asked::Http };
    let forward_body_bytes = u32::try_from(config.body_bytes.unwrap_or_default())
        .map_err(|_| Problem::unsupported(format!("{at}.forwardBody.maxSize: out of range")))?;
    let backend_key = referrer.key(&config.service, asked, &at.clone().key("backendRef"), rule);
    let kind = Kind::ExternalAuthorization(v1::ExternalAuthorization {
        backend_key,
        protocol: Some(config.protocol.clone()),
        forward_body_bytes,
        ..v1::ExternalAuthorization::default()
    });
    Ok(v1::PolicySpec { kind: Some(kind) })
}
