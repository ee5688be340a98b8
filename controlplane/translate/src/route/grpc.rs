//! GRPCRoutes: requests are found by service and method, which are the path of a gRPC request.

use agentgateway_convert::matches::route_match;
use agentgateway_crds::{BackendReference, ParentReference};
use agentgateway_proto::v1;
use agentgateway_types::file::{KeyedMatch, PathMatch, RouteMatch};
use gateway_api::apis::experimental::grpcroutes::{
    GrpcRoute, GrpcRouteRules, GrpcRouteRulesMatches, GrpcRouteRulesMatchesHeadersType, GrpcRouteRulesMatchesMethod,
    GrpcRouteRulesMatchesMethodType, GrpcRouteRulesSessionPersistenceCookieConfigLifetimeType,
    GrpcRouteRulesSessionPersistenceType, GrpcRouteUseDefaultGateways,
};

use super::RouteKind;
use super::backends::{Referrer, reference};
use super::filters;
use super::parent::AsParent;
use super::rule::{Problem, Rule, place, weight};
use super::session::session;
use crate::Name;
use crate::object::ObjectKind;
use crate::service::Asked;
use crate::view::View;

impl RouteKind for GrpcRoute {
    const KIND: ObjectKind = ObjectKind::GrpcRoute;

    fn parents(&self) -> Vec<ParentReference> {
        self.spec.parent_refs.iter().flatten().map(AsParent::as_parent).collect()
    }

    fn hostnames(&self) -> &[String] {
        self.spec.hostnames.as_deref().unwrap_or_default()
    }

    fn wants_default_gateways(&self) -> bool {
        self.spec.use_default_gateways == Some(GrpcRouteUseDefaultGateways::All)
    }

    fn rules(&self, name: &Name, view: &View<'_>) -> Vec<Rule> {
        let empty = [GrpcRouteRules::default()];
        let rules = self.spec.rules.as_deref().filter(|rules| !rules.is_empty()).unwrap_or(&empty);
        let referrer = Referrer { kind: Self::KIND, name, view };
        rules.iter().enumerate().map(|(i, config)| translate(i, config, referrer)).collect()
    }
}

fn translate(index: usize, config: &GrpcRouteRules, referrer: Referrer<'_>) -> Rule {
    let mut rule = Rule::at(index, config.name.as_ref());
    let at = rule.path();
    let every = [GrpcRouteRulesMatches::default()];
    let matches = config.matches.as_deref().filter(|m| !m.is_empty()).unwrap_or(&every);
    for (i, matched) in matches.iter().enumerate() {
        match route_match(&as_request_match(matched)) {
            Ok(converted) => rule.matches.push((place(i), converted)),
            Err(error) => rule.problems.push(Problem::wrong(at.clone().key("matches").index(i), error)),
        }
    }
    let filters = config.filters.iter().flatten().map(filters::Filter::from);
    rule.policies = filters::convert(filters, &at.clone().key("filters"), referrer, &mut rule);
    if let Some(config) = &config.session_persistence {
        let session = session!(
            config,
            GrpcRouteRulesSessionPersistenceType,
            GrpcRouteRulesSessionPersistenceCookieConfigLifetimeType
        );
        session.push(&at.clone().key("sessionPersistence"), &mut rule);
    }
    for (i, config) in config.backend_refs.iter().flatten().enumerate() {
        let at = at.clone().key("backendRefs").index(i);
        let filters = config.filters.iter().flatten().map(filters::Filter::from);
        let inline_policies = filters::convert(filters, &at.clone().key("filters"), referrer, &mut rule);
        let reference = BackendReference { weight: config.weight, ..reference!(config) };
        let backend_key = referrer.key(&reference, Asked::Grpc, &at, &mut rule);
        rule.backends.push(v1::RouteBackend { weight: weight(config.weight), backend_key, inline_policies });
    }
    rule.finish()
}

fn as_request_match(matched: &GrpcRouteRulesMatches) -> RouteMatch {
    let headers = matched.headers.iter().flatten().map(|header| {
        let regex = header.r#type == Some(GrpcRouteRulesMatchesHeadersType::RegularExpression);
        KeyedMatch {
            name: header.name.clone(),
            exact: (!regex).then(|| header.value.clone()),
            regex: regex.then(|| header.value.clone()),
        }
    });
    RouteMatch { path: matched.method.as_ref().map(path), headers: headers.collect(), ..RouteMatch::default() }
}

/// The path of a request is "/package.Service/Method". A service alone is a prefix; a method alone needs an expression, as
/// do expressions.
fn path(matched: &GrpcRouteRulesMatchesMethod) -> PathMatch {
    let written = |part: &Option<String>| part.clone().filter(|part| !part.is_empty());
    let (service, method) = (written(&matched.service), written(&matched.method));
    let regex = matched.r#type == Some(GrpcRouteRulesMatchesMethodType::RegularExpression);
    let expression = |part: Option<String>| match part {
        None => "[^/]+".to_owned(),
        Some(part) if regex => format!("(?:{part})"),
        // Names of methods have no characters that mean something in an expression, but anybody may write some.
        Some(part) => regex_literal(&part),
    };
    match (service, method) {
        (None, None) => PathMatch { path_prefix: Some("/".to_owned()), ..PathMatch::default() },
        (Some(service), Some(method)) if !regex => {
            PathMatch { exact: Some(format!("/{service}/{method}")), ..PathMatch::default() }
        }
        (Some(service), None) if !regex => {
            PathMatch { path_prefix: Some(format!("/{service}")), ..PathMatch::default() }
        }
        (service, method) => PathMatch {
            regex: Some(format!("/{}/{}", expression(service), expression(method))),
            ..PathMatch::default()
        },
    }
}

fn regex_literal(text: &str) -> String {
    let escape = |c: char| if c.is_ascii_alphanumeric() || c == '_' { vec![c] } else { vec!['\\', c] };
    text.chars().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(service: &str, method: &str, regex: bool) -> PathMatch {
        let written = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        path(&GrpcRouteRulesMatchesMethod {
            service: written(service),
            method: written(method),
            r#type: regex.then_some(GrpcRouteRulesMatchesMethodType::RegularExpression),
        })
    }

    #[test]
    fn services_and_methods_are_paths() {
        assert_eq!(matched("a.B", "C", false).exact.as_deref(), Some("/a.B/C"));
        assert_eq!(matched("a.B", "", false).path_prefix.as_deref(), Some("/a.B"));
        assert_eq!(matched("", "C", false).regex.as_deref(), Some("/[^/]+/C"));
        assert_eq!(matched("a|b", "", true).regex.as_deref(), Some("/(?:a|b)/[^/]+"));
        assert_eq!(matched("", "", false).path_prefix.as_deref(), Some("/"));
        assert_eq!(regex_literal("a.b_C"), r"a\.b_C");
    }
}
