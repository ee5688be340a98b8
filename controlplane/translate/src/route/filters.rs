//! Filters of HTTPRoutes as policies. A filter that is not supported is an error, never left out.

use agentgateway_convert::{Error, policy};
use agentgateway_proto::v1;
use agentgateway_types::Path;
use agentgateway_types::policy::{Cors, Header, HeaderModifier, PathModifier, RequestRedirect, UrlRewrite};
use gateway_api::apis::experimental::httproutes as api;

use super::rules::Problem;

/// A filter, from wherever in a route it is: Gateway API has the same filters on rules and on backend references, but the
/// types of each are their own.
#[derive(Default)]
struct Filter {
    kind: &'static str,
    request_headers: Option<HeaderModifier>,
    response_headers: Option<HeaderModifier>,
    redirect: Option<RequestRedirect>,
    rewrite: Option<UrlRewrite>,
    cors: Option<Cors>,
}

/// The policies of a rule.
pub(super) fn of_rule(filters: &[api::HttpRouteRulesFilters], at: &Path) -> Result<Vec<v1::PolicySpec>, Problem> {
    convert_all(filters.iter().map(Filter::from), at)
}

/// The policies of a backend reference.
pub(super) fn of_backend(
    filters: &[api::HttpRouteRulesBackendRefsFilters],
    at: &Path,
) -> Result<Vec<v1::PolicySpec>, Problem> {
    convert_all(filters.iter().map(Filter::from), at)
}

fn convert_all(filters: impl Iterator<Item = Filter>, at: &Path) -> Result<Vec<v1::PolicySpec>, Problem> {
    let (mut specs, mut kinds) = (Vec::new(), Vec::new());
    for (i, filter) in filters.enumerate() {
        let at = at.clone().index(i);
        if kinds.contains(&filter.kind) {
            return Err(Problem::unsupported(format!("{at}: a second filter of type {}", filter.kind)));
        }
        kinds.push(filter.kind);
        specs.push(convert(&filter, &at)?);
    }
    if kinds.contains(&"RequestRedirect") && kinds.contains(&"URLRewrite") {
        let message = format!("{at}: RequestRedirect and URLRewrite exclude each other");
        return Err(Problem { reason: "IncompatibleFilters", message });
    }
    Ok(specs)
}

fn convert(filter: &Filter, at: &Path) -> Result<v1::PolicySpec, Problem> {
    let wrong = |member: &str, error: Error| Problem::unsupported(error.within(at.clone().key(member)).to_string());
    let absent = |member: &str| Problem::unsupported(format!("{}: must be set", at.clone().key(member)));
    match filter.kind {
        "RequestHeaderModifier" => {
            let config = filter.request_headers.as_ref().ok_or_else(|| absent("requestHeaderModifier"))?;
            policy::request_headers(config).map_err(|e| wrong("requestHeaderModifier", e))
        }
        "ResponseHeaderModifier" => {
            let config = filter.response_headers.as_ref().ok_or_else(|| absent("responseHeaderModifier"))?;
            policy::response_headers(config).map_err(|e| wrong("responseHeaderModifier", e))
        }
        "RequestRedirect" => {
            let config = filter.redirect.as_ref().ok_or_else(|| absent("requestRedirect"))?;
            policy::request_redirect(config).map_err(|e| wrong("requestRedirect", e))
        }
        "URLRewrite" => {
            let config = filter.rewrite.as_ref().ok_or_else(|| absent("urlRewrite"))?;
            policy::url_rewrite(config).map_err(|e| wrong("urlRewrite", e))
        }
        "CORS" => {
            let config = filter.cors.as_ref().ok_or_else(|| absent("cors"))?;
            policy::cors(config).map_err(|e| wrong("cors", e))
        }
        other => Err(Problem::unsupported(format!("{at}: a filter of type {other} is not supported"))),
    }
}

/// Reads the filters of one place in a route; the types of the two places differ in their names alone.
macro_rules! filters_of {
    ($filter:ty, $kind:ty, $redirect_path:ty, $rewrite_path:ty, $scheme:ty) => {
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
                let header = |name: &String, value: &String| Header { name: name.clone(), value: value.clone() };
                Filter {
                    kind,
                    request_headers: filter.request_header_modifier.as_ref().map(|m| HeaderModifier {
                        set: m.set.iter().flatten().map(|h| header(&h.name, &h.value)).collect(),
                        add: m.add.iter().flatten().map(|h| header(&h.name, &h.value)).collect(),
                        remove: m.remove.clone().unwrap_or_default(),
                    }),
                    response_headers: filter.response_header_modifier.as_ref().map(|m| HeaderModifier {
                        set: m.set.iter().flatten().map(|h| header(&h.name, &h.value)).collect(),
                        add: m.add.iter().flatten().map(|h| header(&h.name, &h.value)).collect(),
                        remove: m.remove.clone().unwrap_or_default(),
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

filters_of!(
    api::HttpRouteRulesFilters,
    api::HttpRouteRulesFiltersType,
    api::HttpRouteRulesFiltersRequestRedirectPathType,
    api::HttpRouteRulesFiltersUrlRewritePathType,
    api::HttpRouteRulesFiltersRequestRedirectScheme
);
filters_of!(
    api::HttpRouteRulesBackendRefsFilters,
    api::HttpRouteRulesBackendRefsFiltersType,
    api::HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    api::HttpRouteRulesBackendRefsFiltersUrlRewritePathType,
    api::HttpRouteRulesBackendRefsFiltersRequestRedirectScheme
);

/// What stands in place of a path that is not written is the empty path.
fn full(path: Option<&str>) -> PathModifier {
    PathModifier { full: Some(path.unwrap_or_default().to_owned()), prefix: None }
}

fn prefix(path: Option<&str>) -> PathModifier {
    PathModifier { full: None, prefix: Some(path.unwrap_or_default().to_owned()) }
}
