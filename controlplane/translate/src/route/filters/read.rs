//! Reads filters from each place in each kind of route that may have them; the types of the places differ in their names
//! alone.

use agentgateway_proto::v1::{self, external_authorization::Protocol};
use agentgateway_types::policy::{Cors, Header, HeaderModifier, PathModifier, RequestRedirect, UrlRewrite};
use gateway_api::apis::experimental::{grpcroutes, httproutes};

use super::super::backends::reference;
use super::{ExtensionRef, ExternalAuth, Filter, Mirror};

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

macro_rules! extension {
    ($reference:expr) => {
        $reference.as_ref().map(|r| ExtensionRef { group: r.group.clone(), kind: r.kind.clone(), name: r.name.clone() })
    };
}

/// Of an HTTPRoute.
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
                    extension: extension!(filter.extension_ref),
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

/// Of a GRPCRoute.
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
                    extension: extension!(filter.extension_ref),
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
