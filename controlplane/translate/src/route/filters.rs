//! Filters of HTTPRoutes and GRPCRoutes as policies. A filter that is not supported is an error, never left out.

use agentgateway_convert::policy;
use agentgateway_crds::BackendReference;
use agentgateway_proto::v1::{self, external_authorization::Protocol, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{Cors, Header, HeaderModifier, PathModifier, RequestRedirect, UrlRewrite};
use gateway_api::apis::experimental::{grpcroutes, httproutes};

use super::backends::{Referrer, reference};
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
    let (mut specs, mut kinds) = (Vec::new(), Vec::new());
    for (i, filter) in filters.enumerate() {
        let at = at.clone().index(i);
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

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

macro_rules! headers {
    ($modifier:expr) => {
        $modifier.as_ref().map(|m| HeaderModifier {
            set: m.set.iter().flatten().map(|h| header(&h.name, &h.value)).collect(),
            add: m.add.iter().flatten().map(|h| header(&h.name, &h.value)).collect(),
            remove: m.remove.clone().unwrap_or_default(),
        })
    };
}

macro_rules! mirror {
    ($mirror:expr) => {
        $mirror.as_ref().map(|m| Mirror {
            to: reference!(m.backend_ref),
            percent: m.percent,
            fraction: m.fraction.as_ref().map(|f| (f.numerator, f.denominator)),
        })
    };
}

/// Reads the filters of one place in an HTTPRoute; the types of the two places differ in their names alone.
macro_rules! http_filters {
    ($filter:ty, $kind:ty, $redirect_path:ty, $rewrite_path:ty, $scheme:ty, $auth:ty) => {
        impl From<&$filter> for Filter {
            fn from(filter: &$filter) -> Filter {
                type Kind = $kind;
                let kind = match filter.r#type {
                    Kind::RequestHeaderModifier => "RequestHeaderModifier",
                    Kind::ResponseHeaderModifier => "ResponseHeaderModifier",
                    Kind::RequestMirror => "RequestMirror",
                    Kind::RequestRedirect => "RequestRedirect",
                    Kind::UrlRewrite => "URLRewrite",
                    Kind::ExtensionRef => "ExtensionRef",
                    Kind::Cors => "CORS",
                    Kind::ExternalAuth => "ExternalAuth",
                };
                Filter {
                    kind,
                    request_headers: headers!(filter.request_header_modifier),
                    response_headers: headers!(filter.response_header_modifier),
                    mirror: mirror!(filter.request_mirror),
                    external_auth: filter.external_auth.as_ref().map(|auth| {
                        type Spoken = $auth;
                        let protocol = match auth.protocol {
                            Spoken::Grpc => Protocol::Grpc(v1::external_authorization::Grpc {
                                allowed_headers: auth
                                    .grpc
                                    .as_ref()
                                    .and_then(|grpc| grpc.allowed_headers.clone())
                                    .unwrap_or_default(),
                                ..v1::external_authorization::Grpc::default()
                            }),
                            Spoken::Http => {
                                let http = auth.http.clone().unwrap_or_default();
                                Protocol::Http(v1::external_authorization::Http {
                                    path_prefix: http.path.unwrap_or_default(),
                                    allowed_headers: http.allowed_headers.unwrap_or_default(),
                                    allowed_response_headers: http.allowed_response_headers.unwrap_or_default(),
                                })
                            }
                        };
                        ExternalAuth {
                            service: reference!(auth.backend_ref),
                            protocol,
                            body_bytes: auth.forward_body.as_ref().and_then(|body| body.max_size),
                        }
                    }),
                    redirect: filter.request_redirect.as_ref().map(|r| RequestRedirect {
                        scheme: r.scheme.as_ref().map(|scheme| {
                            match scheme {
                                <$scheme>::Http => "http",
                                <$scheme>::Https => "https",
                            }
                            .to_owned()
                        }),
                        hostname: r.hostname.clone(),
                        port: r.port.map(|port| u16::try_from(port).unwrap_or_default()),
                        path: r.path.as_ref().map(|path| match path.r#type {
                            <$redirect_path>::ReplaceFullPath => full(path.replace_full_path.as_deref()),
                            <$redirect_path>::ReplacePrefixMatch => prefix(path.replace_prefix_match.as_deref()),
                        }),
                        status_code: r.status_code.map(|code| u16::try_from(code).unwrap_or_default()),
                    }),
                    rewrite: filter.url_rewrite.as_ref().map(|r| UrlRewrite {
                        hostname: r.hostname.clone(),
                        path: r.path.as_ref().map(|path| match path.r#type {
                            <$rewrite_path>::ReplaceFullPath => full(path.replace_full_path.as_deref()),
                            <$rewrite_path>::ReplacePrefixMatch => prefix(path.replace_prefix_match.as_deref()),
                        }),
                    }),
                    cors: filter.cors.as_ref().map(|c| Cors {
                        allow_origins: c.allow_origins.clone().unwrap_or_default(),
                        allow_credentials: c.allow_credentials,
                        allow_methods: c.allow_methods.clone().unwrap_or_default(),
                        allow_headers: c.allow_headers.clone().unwrap_or_default(),
                        expose_headers: c.expose_headers.clone().unwrap_or_default(),
                        max_age: c.max_age.map(|age| u32::try_from(age).unwrap_or_default()),
                    }),
                }
            }
        }
    };
}

http_filters!(
    httproutes::HttpRouteRulesFilters,
    httproutes::HttpRouteRulesFiltersType,
    httproutes::HttpRouteRulesFiltersRequestRedirectPathType,
    httproutes::HttpRouteRulesFiltersUrlRewritePathType,
    httproutes::HttpRouteRulesFiltersRequestRedirectScheme,
    httproutes::HttpRouteRulesFiltersExternalAuthProtocol
);
http_filters!(
    httproutes::HttpRouteRulesBackendRefsFilters,
    httproutes::HttpRouteRulesBackendRefsFiltersType,
    httproutes::HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    httproutes::HttpRouteRulesBackendRefsFiltersUrlRewritePathType,
    httproutes::HttpRouteRulesBackendRefsFiltersRequestRedirectScheme,
    httproutes::HttpRouteRulesBackendRefsFiltersExternalAuthProtocol
);

/// As [`http_filters`], of a GRPCRoute.
macro_rules! grpc_filters {
    ($filter:ty, $kind:ty) => {
        impl From<&$filter> for Filter {
            fn from(filter: &$filter) -> Filter {
                type Kind = $kind;
                let kind = match filter.r#type {
                    Kind::RequestHeaderModifier => "RequestHeaderModifier",
                    Kind::ResponseHeaderModifier => "ResponseHeaderModifier",
                    Kind::RequestMirror => "RequestMirror",
                    Kind::ExtensionRef => "ExtensionRef",
                };
                Filter {
                    kind,
                    request_headers: headers!(filter.request_header_modifier),
                    response_headers: headers!(filter.response_header_modifier),
                    mirror: mirror!(filter.request_mirror),
                    ..Filter::default()
                }
            }
        }
    };
}

grpc_filters!(grpcroutes::GrpcRouteRulesFilters, grpcroutes::GrpcRouteRulesFiltersType);
grpc_filters!(grpcroutes::GrpcRouteRulesBackendRefsFilters, grpcroutes::GrpcRouteRulesBackendRefsFiltersType);

/// What stands in place of a path that is not written is the empty path.
fn full(path: Option<&str>) -> PathModifier {
    PathModifier { full: Some(path.unwrap_or_default().to_owned()), prefix: None }
}

fn prefix(path: Option<&str>) -> PathModifier {
    PathModifier { full: None, prefix: Some(path.unwrap_or_default().to_owned()) }
}
