use super::*;
use agentgateway_types::policy::{Header, JwtAuth, JwtProvider, KeySet, RbacPolicy};

struct Nothing;

impl Lookup for Nothing {
    fn file(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Err("no such file".into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn expand(&self, text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn backend(&mut self, _: v1::HostBackend, _: Option<&BackendTls>) -> Result<String, Error> {
        Err(Error::Missing { path: Path::root() })
    }
}

fn keys(_: &KeySet) -> Result<Keys, Error> {
    Ok(Keys::Set("{\"keys\":[]}".into()))
}

#[test]
fn errors_name_the_field_from_the_route() {
    let jwks = Some(KeySet { file: Some("k".into()), ..KeySet::default() });
    let jwt = JwtAuth { issuer: Some("i".into()), jwks, ..JwtAuth::default() };
    let policies = RoutePolicies { jwt_auth: Some(jwt), ..RoutePolicies::default() };
    let error = route_policies(&policies, &mut Nothing).expect_err("no keys");
    assert_eq!(error.to_string(), "jwtAuth.jwks.file: no such file");
}

#[test]
fn a_jwt_policy_has_one_issuer_or_providers() {
    let set = KeySet { inline: Some("{}".into()), ..KeySet::default() };
    let provider = JwtProvider { issuer: "i".into(), jwks: set.clone(), ..JwtProvider::default() };
    let both =
        JwtAuth { issuer: Some("i".into()), jwks: Some(set), providers: vec![provider.clone()], ..JwtAuth::default() };
    assert!(jwt(&both, &mut keys).is_err());
    assert!(jwt(&JwtAuth::default(), &mut keys).is_err());
    let several = JwtAuth { providers: vec![provider.clone(), provider], ..JwtAuth::default() };
    let Some(Kind::Jwt(converted)) = jwt(&several, &mut keys).expect("converts").kind else { panic!("no jwt") };
    assert_eq!(converted.providers.len(), 2);
    assert_eq!(converted.mode(), v1::AuthenticationMode::Strict);
}

#[test]
fn rbac_becomes_rules_of_its_scope() {
    let policy = RbacPolicy { match_expressions: vec!["a".into(), "b".into()] };
    let deny = Rbac { policy, action: RbacAction::Deny };
    let Some(Kind::McpAuthorization(rules)) = rbac(&deny, Scope::McpItems).expect("converts").kind else {
        panic!("no rules")
    };
    assert_eq!((rules.allow.len(), rules.deny.len()), (0, 2));
    assert!(matches!(rbac(&deny, Scope::Http).expect("converts").kind, Some(Kind::Authorization(_))));
    assert!(rbac(&Rbac::default(), Scope::Http).is_err());
}

#[test]
fn a_rule_has_one_member() {
    let rule = Rule { allow: Some("a".into()), deny: Some("b".into()), require: None };
    let error = authorization(&Authorization { rules: vec![rule] }, Scope::Http).expect_err("two members");
    assert_eq!(error.to_string(), "rules[0]: exactly one of allow, deny and require must be set");
}

#[test]
fn origins_are_checked() {
    for good in
        ["*", "https://example.com", "https://*.example.com", "http://localhost:3000", "http://[::1]:80", "app://x"]
    {
        assert!(allowed_origin(good), "{good}");
    }
    for bad in ["", "example.com", "https://", "https://a/b", "https://a.*.com", "https://a:0"] {
        assert!(!allowed_origin(bad), "{bad}");
    }
}

#[test]
fn headers_are_checked() {
    let bad = Header { name: "a b".into(), value: "v".into() };
    let error = request_headers(&HeaderModifier { set: vec![bad], ..HeaderModifier::default() }).expect_err("a space");
    assert_eq!(error.path().to_string(), "set[0].name");
}

#[test]
fn redirect_and_rewrite_exclude_each_other() {
    let policies = RoutePolicies {
        url_rewrite: Some(UrlRewrite::default()),
        request_redirect: Some(RequestRedirect::default()),
        ..RoutePolicies::default()
    };
    assert!(route_policies(&policies, &mut Nothing).is_err());
}

#[test]
fn a_redirect_answers_302_unless_told() {
    let Some(Kind::RequestRedirect(redirect)) = request_redirect(&RequestRedirect::default()).expect("converts").kind
    else {
        panic!("no redirect")
    };
    assert_eq!(redirect.status_code, 302);
    assert!(request_redirect(&RequestRedirect { status_code: Some(304), ..RequestRedirect::default() }).is_err());
}

#[test]
fn keys_are_in_one_place_and_settings_of_a_url_need_one() {
    let of = |set: KeySet| key_set(&set, &mut Nothing).map(|_| ()).map_err(|e| e.to_string());
    let url = |url: &str| KeySet { url: Some(url.into()), ..KeySet::default() };
    assert_eq!(of(url("https://issuer.example/jwks")), Ok(()));
    let refresh = "1s".parse().ok();
    for (set, message) in [
        (KeySet::default(), "exactly one of file, inline and url"),
        (KeySet { inline: Some("{}".into()), ..url("https://a") }, "exactly one of"),
        (KeySet { refresh_interval: refresh, ..url("https://a") }, "refreshInterval: must be from 10s to 24h"),
        (KeySet { inline: Some("{}".into()), refresh_interval: refresh, ..KeySet::default() }, "is for url only"),
        (KeySet { ca_file: Some("x".into()), ..url("https://a") }, "caFile: no such file"),
        (url("ldap://a"), "url: \"ldap://a\" must start with"),
    ] {
        let error = of(set).expect_err(message);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn claims_and_clocks_are_checked() {
    let set = KeySet { inline: Some("{}".into()), ..KeySet::default() };
    let policy = || JwtAuth { issuer: Some("i".into()), jwks: Some(set.clone()), ..JwtAuth::default() };
    let claim = |name: &str| agentgateway_types::policy::RequiredClaim { name: name.into(), values: vec![] };
    let claims = JwtAuth { required_claims: vec![claim("a.b"), claim("a..b")], ..policy() };
    assert_eq!(jwt(&claims, &mut keys).expect_err("empty").path().to_string(), "requiredClaims[1].name");
    let skew = JwtAuth { clock_skew: "6m".parse().ok(), ..policy() };
    assert_eq!(jwt(&skew, &mut keys).expect_err("long").path().to_string(), "clockSkew");
}
