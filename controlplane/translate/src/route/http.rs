//! HTTPRoutes: matches, filters, timeouts, retries and backends.

use agentgateway_convert::matches::route_match;
use agentgateway_crds::{BackendReference, ParentReference};
use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::file::{KeyedMatch, PathMatch, RouteMatch};
use gateway_api::apis::experimental::httproutes::{
    HttpRoute, HttpRouteRules, HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesPathType,
    HttpRouteRulesMatchesQueryParamsType, HttpRouteRulesRetry,
    HttpRouteRulesSessionPersistenceCookieConfigLifetimeType, HttpRouteRulesSessionPersistenceType,
    HttpRouteRulesTimeouts, HttpRouteUseDefaultGateways,
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

impl RouteKind for HttpRoute {
    const KIND: ObjectKind = ObjectKind::HttpRoute;

    fn parents(&self) -> Vec<ParentReference> {
        self.spec.parent_refs.iter().flatten().map(AsParent::as_parent).collect()
    }

    fn hostnames(&self) -> &[String] {
        self.spec.hostnames.as_deref().unwrap_or_default()
    }

    fn wants_default_gateways(&self) -> bool {
        self.spec.use_default_gateways == Some(HttpRouteUseDefaultGateways::All)
    }

    /// A route without rules has one that takes everything and answers 500, as it has no backend.
    fn rules(&self, name: &Name, view: &View<'_>) -> Vec<Rule> {
        let empty = [HttpRouteRules::default()];
        let rules = self.spec.rules.as_deref().filter(|rules| !rules.is_empty()).unwrap_or(&empty);
        let referrer = Referrer { kind: Self::KIND, name, view };
        rules.iter().enumerate().map(|(i, config)| translate(i, config, referrer)).collect()
    }
}

fn translate(index: usize, config: &HttpRouteRules, referrer: Referrer<'_>) -> Rule {
    let mut rule = Rule::at(index, config.name.as_ref());
    let at = rule.path();
    let every = [HttpRouteRulesMatches::default()];
    let matches = config.matches.as_deref().filter(|m| !m.is_empty()).unwrap_or(&every);
    for (i, matched) in matches.iter().enumerate() {
        match route_match(&as_user_match(matched)) {
            Ok(converted) => rule.matches.push((place(i), converted)),
            Err(error) => rule.problems.push(Problem::wrong(at.clone().key("matches").index(i), error)),
        }
    }
    let filters = config.filters.iter().flatten().map(filters::Filter::from);
    rule.policies = filters::convert(filters, &at.clone().key("filters"), referrer, &mut rule);
    for made in [
        config.timeouts.as_ref().map(|config| timeouts(config, &at.clone().key("timeouts"))),
        config.retry.as_ref().map(|config| retry(config, &at.clone().key("retry"))),
    ] {
        match made {
            Some(Ok(kind)) => rule.policies.push(v1::PolicySpec { kind: Some(kind) }),
            Some(Err(problem)) => rule.problems.push(problem),
            None => {}
        }
    }
    if let Some(config) = &config.session_persistence {
        let session = session!(
            config,
            HttpRouteRulesSessionPersistenceType,
            HttpRouteRulesSessionPersistenceCookieConfigLifetimeType
        );
        session.push(&at.clone().key("sessionPersistence"), &mut rule);
    }
    for (i, config) in config.backend_refs.iter().flatten().enumerate() {
        let at = at.clone().key("backendRefs").index(i);
        let filters = config.filters.iter().flatten().map(filters::Filter::from);
        let inline_policies = filters::convert(filters, &at.clone().key("filters"), referrer, &mut rule);
        let reference = BackendReference { weight: config.weight, ..reference!(config) };
        let backend_key = referrer.key(&reference, Asked::Http, &at, &mut rule);
        rule.backends.push(v1::RouteBackend { weight: weight(config.weight), backend_key, inline_policies });
    }
    rule.finish()
}

fn as_user_match(matched: &HttpRouteRulesMatches) -> RouteMatch {
    let path = matched.path.as_ref().map(|path| {
        let value = Some(path.value.clone().unwrap_or_else(|| "/".to_owned()));
        match path.r#type {
            Some(HttpRouteRulesMatchesPathType::Exact) => PathMatch { exact: value, ..PathMatch::default() },
            Some(HttpRouteRulesMatchesPathType::RegularExpression) => {
                PathMatch { regex: value, ..PathMatch::default() }
            }
            Some(HttpRouteRulesMatchesPathType::PathPrefix) | None => {
                PathMatch { path_prefix: value, ..PathMatch::default() }
            }
        }
    });
    let keyed = |name: &String, value: &String, regex: bool| KeyedMatch {
        name: name.clone(),
        exact: (!regex).then(|| value.clone()),
        regex: regex.then(|| value.clone()),
    };
    let headers = matched.headers.iter().flatten();
    let query = matched.query_params.iter().flatten();
    RouteMatch {
        path,
        method: matched
            .method
            .as_ref()
            .and_then(|m| serde_json::to_value(m).ok())
            .and_then(|m| m.as_str().map(str::to_owned)),
        headers: headers
            .map(|h| keyed(&h.name, &h.value, h.r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression)))
            .collect(),
        query: query
            .map(|q| {
                keyed(&q.name, &q.value, q.r#type == Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression))
            })
            .collect(),
    }
}

fn timeouts(config: &HttpRouteRulesTimeouts, at: &Path) -> Result<Kind, Problem> {
    let request = milliseconds(config.request.as_deref(), at, "request")?;
    let backend_request = milliseconds(config.backend_request.as_deref(), at, "backendRequest")?;
    if let (Some(request), Some(backend)) = (request.filter(|request| *request > 0), backend_request)
        && backend > request
    {
        return Err(Problem::unsupported(format!("{at}: backendRequest must not be longer than request")));
    }
    Ok(Kind::Timeouts(v1::Timeouts {
        request_milliseconds: request,
        backend_request_milliseconds: backend_request,
        ..v1::Timeouts::default()
    }))
}

fn retry(config: &HttpRouteRulesRetry, at: &Path) -> Result<Kind, Problem> {
    let attempts = config.attempts.map(u32::try_from).transpose();
    let attempts = attempts.map_err(|_| Problem::unsupported(format!("{at}.attempts: must not be negative")))?;
    let code = |(i, code): (usize, &i64)| {
        let known = u32::try_from(*code).ok().filter(|code| (400..600).contains(code));
        known.ok_or_else(|| Problem::unsupported(format!("{at}.codes[{i}]: {code} is none of 400 to 599")))
    };
    let status_codes = config.codes.iter().flatten().enumerate().map(code).collect::<Result<Vec<u32>, Problem>>()?;
    let backoff_milliseconds = milliseconds(config.backoff.as_deref(), at, "backoff")?;
    Ok(Kind::Retry(v1::Retry { attempts, status_codes, backoff_milliseconds }))
}

/// A duration as Gateway API writes it (GEP-2257).
pub(super) fn milliseconds(written: Option<&str>, at: &Path, field: &str) -> Result<Option<u64>, Problem> {
    let Some(written) = written else { return Ok(None) };
    let parsed = written.parse::<gateway_api::Duration>();
    let parsed = parsed.map_err(|error| Problem::unsupported(format!("{at}.{field}: {written:?}: {error}")))?;
    Ok(Some(u64::try_from(parsed.as_millis()).unwrap_or(u64::MAX)))
}
