//! What policies cost a request, on its way to the backend and back: nanoseconds and allocations on one core, with glibc's
//! allocator. `cargo bench -p agentgateway-policy --profile ci`; `make bench-policies` keeps the figures.
//!
//! The last line is the figures as JSON.

use std::cell::RefCell;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use agentgateway_policy::{Attached, Chain, McpItem, Reach, RequestContext, Services, State};
use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_upstream::{Body, Cluster, Upstream};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

thread_local! {
    static FIGURES: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// Requests that are prepared at once: few enough to stay in the cache, as a request on its connection does.
const BATCH: usize = 64;

/// Tokens that are verified for the first time, one after the other.
const TOKENS: usize = 2000;

fn main() {
    let head = || request(None);
    measure("empty chain", 2_000_000, &chain(vec![]), |_| head());
    measure("rule on a header", 500_000, &chain(vec![rules(&["request.headers['x-team'] == 'search'"])]), |_| head());
    measure(
        "two rules on path and method",
        500_000,
        &chain(vec![rules(&["request.path.startsWith('/admin')", "request.method in ['GET', 'HEAD']"])]),
        |_| head(),
    );
    measure(
        "rule with a regular expression",
        500_000,
        &chain(vec![rules(&["request.path.matches('^/v[0-9]+/')"])]),
        |_| head(),
    );
    measure("rate limit", 2_000_000, &chain(vec![limit()]), |_| head());
    limits();
    messages();
    measure("header modifier, two headers", 1_000_000, &chain(vec![modifier()]), |_| head());
    for (name, sign, key) in [rsa(), ecdsa()] {
        let chain = chain(vec![jwt(&key)]);
        let tokens: Vec<String> = (0..TOKENS).map(|i| format!("Bearer {}", sign(i))).collect();
        measure(&format!("{name}, first time"), TOKENS, &chain, |i| request(tokens.get(i).map(String::as_str)));
        let last = tokens.last().cloned();
        measure(&format!("{name}, remembered"), 500_000, &chain, |_| request(last.as_deref()));
    }
    items();
    credentials();
    ten();
    println!("{}", FIGURES.with_borrow(|all| json!(all)));
}

/// Policies that look at who asks, or change the message.
fn messages() {
    let head = || request(None);
    measure("CORS", 500_000, &chain(vec![cors()]), |_| with(head(), "origin", "https://app.example.com"));
    measure("CSRF", 500_000, &chain(vec![csrf()]), |_| with(posted(head()), "origin", "https://app.example.com"));
    measure("transformation, two headers each way", 200_000, &chain(vec![transformation()]), |_| head());
    measure("URL rewrite", 500_000, &chain(vec![rewrite()]), |_| head());
    let buffer = Kind::RequestBuffer(v1::RequestBuffer { max_bytes: 64 << 10 });
    measure("buffer, no body", 500_000, &chain(vec![buffer]), |_| head());
}

fn credentials() {
    let key = "sk-0123456789abcdef";
    let sha256 = ring::digest::digest(&ring::digest::SHA256, key.as_bytes()).as_ref().to_vec().into();
    let keys = vec![v1::ApiKey { sha256, name: "team".into(), metadata: r#"{"tier": "gold"}"#.into() }];
    let policy = Kind::ApiKey(v1::ApiKeyAuthentication { keys, ..Default::default() });
    measure("API key", 500_000, &chain(vec![policy]), |_| with(request(None), "x-api-key", key));
}

/// Ten policies on one route: what a careful operator has.
fn ten() {
    let (_, sign, key) = ecdsa();
    let token = format!("Bearer {}", sign(1));
    let sizes = v1::RequestLimits { max_body_bytes: 1 << 20, max_header_bytes: 8192, max_headers: 64 };
    let concurrency = v1::ConcurrencyLimit { max_requests: 1000, ..Default::default() };
    let Kind::RequestHeaderModifier(response) = modifier() else { unreachable!("it is one") };
    let all = chain(vec![
        cors(),
        Kind::RequestLimits(sizes),
        csrf(),
        jwt(&key),
        rules(&["jwt.sub == 1 && request.headers['x-team'] == 'search'"]),
        Kind::ConcurrencyLimit(concurrency),
        limit(),
        transformation(),
        Kind::ResponseHeaderModifier(response),
        rewrite(),
    ]);
    let head = || with(posted(request(Some(&token))), "origin", "https://app.example.com");
    measure("ten policies together", 200_000, &all, |_| head());
}

fn with(mut head: Parts, name: &'static str, value: &'static str) -> Parts {
    head.headers.insert(name, http::HeaderValue::from_static(value));
    head
}

fn posted(mut head: Parts) -> Parts {
    head.method = http::Method::POST;
    head
}

fn cors() -> Kind {
    let allow_origins = vec!["https://app.example.com".into()];
    Kind::Cors(v1::Cors { allow_origins, expose_headers: vec!["x-a".into()], ..Default::default() })
}

fn csrf() -> Kind {
    let kind = Some(v1::csrf::origin_match::Kind::Exact("https://app.example.com".into()));
    let additional_origins = vec![v1::csrf::OriginMatch { kind, ignore_case: false }];
    Kind::Csrf(v1::Csrf { additional_origins, ..Default::default() })
}

fn transformation() -> Kind {
    let header = |name: &str, value: &str| v1::Header { name: name.into(), value: value.into() };
    let message = |values: [&str; 2]| v1::transformation::Message {
        set: vec![header("x-one", values[0]), header("x-two", values[1])],
        ..Default::default()
    };
    Kind::Transformation(v1::Transformation {
        request: Some(message(["request.path", "request.headers['x-team'] + '-team'"])),
        response: Some(message(["string(response.code)", "request.host"])),
    })
}

fn rewrite() -> Kind {
    let kind = v1::path_modifier::Kind::ReplaceFull("/v2/things".into());
    Kind::UrlRewrite(v1::UrlRewrite { hostname: "b.example".into(), path: Some(v1::PathModifier { kind: Some(kind) }) })
}

/// Limits that look at a request, or at more than one thing.
fn limits() {
    let (head, by_team) = (|| request(None), || vec!["request.headers['x-team']".to_owned()]);
    let Kind::LocalRateLimit(plain) = limit() else { unreachable!("it is one") };
    let keyed = Kind::LocalRateLimit(v1::LocalRateLimit { key: by_team(), ..plain.clone() });
    measure("rate limit by a header", 500_000, &chain(vec![keyed]), |_| head());
    let many = v1::LocalRateLimit { key: vec!["request.query['n']".into()], max_keys: 100_000, ..plain.clone() };
    measure("rate limit by 50000 keys", 500_000, &chain(vec![Kind::LocalRateLimit(many)]), |i| {
        let uri = format!("/v1/things?n={}", i % 50_000);
        http::Request::builder().uri(uri).body(()).map_or_else(|_| head(), |r| r.into_parts().0)
    });
    let costly = v1::LocalRateLimit { cost: "size(request.path)".into(), ..plain.clone() };
    measure("rate limit by cost", 500_000, &chain(vec![Kind::LocalRateLimit(costly)]), |_| head());
    let two = v1::LocalRateLimit { also: vec![plain.clone()], headers: true, ..plain };
    measure("two rate limits with headers", 1_000_000, &chain(vec![Kind::LocalRateLimit(two)]), |_| head());
    let concurrency = |key| v1::ConcurrencyLimit { max_requests: 1000, key, ..Default::default() };
    measure("concurrency limit", 1_000_000, &chain(vec![Kind::ConcurrencyLimit(concurrency(vec![]))]), |_| head());
    measure(
        "concurrency limit by a header",
        500_000,
        &chain(vec![Kind::ConcurrencyLimit(concurrency(by_team()))]),
        |_| head(),
    );
    let sizes = v1::RequestLimits { max_body_bytes: 1 << 20, max_header_bytes: 8192, max_headers: 64 };
    measure("request limits", 1_000_000, &chain(vec![Kind::RequestLimits(sizes)]), |_| head());
}

/// No policy here asks another service.
struct Nothing;

impl Services for Nothing {
    fn upstream(&self) -> &Upstream {
        unreachable!("nothing is sent")
    }

    fn cluster(&self, _: &str) -> Option<Arc<Cluster>> {
        None
    }

    fn random_below(&self, _: u64) -> u64 {
        0
    }
}

fn measure(name: &str, times: usize, chain: &Chain, head: impl Fn(usize) -> Parts) {
    let context = || RequestContext::new(([10, 0, 0, 1], 1000).into(), "http", 80);
    let mut prepared: Vec<(Parts, RequestContext)> = Vec::new();
    let (mut nanoseconds, mut done, mut allocations) = (0, 0, 0);
    while done < times {
        let batch = (times - done).min(BATCH);
        prepared.extend((done..done + batch).map(|i| (head(i), context())));
        let mut responses: Vec<_> = (0..batch).map(|_| http::Response::new(()).into_parts().0).collect();
        let (start, region) = (Instant::now(), Region::new(ALLOCATOR));
        for ((head, context), response) in prepared.iter_mut().zip(&mut responses) {
            let mut reach = Reach { services: &Nothing, body: &mut Some(Body::Empty) };
            let result = {
                let future = pin!(chain.on_request(head, context, &mut reach));
                let Poll::Ready(result) = future.poll(&mut Context::from_waker(Waker::noop())) else {
                    unreachable!("no policy waits");
                };
                result
            };
            assert!(result.is_ok(), "{name} lets requests through");
            black_box(&result);
            chain.on_response(response, context);
        }
        nanoseconds += start.elapsed().as_nanos();
        allocations += region.change().allocations;
        prepared.clear();
        done += batch;
    }
    tell(name, nanoseconds / times as u128, allocations as f64 / times as f64);
}

fn tell(name: &str, nanoseconds: u128, allocations: f64) {
    println!("{name}: {nanoseconds} ns, {allocations:.1} allocations");
    let figure =
        json!({"policy": name, "nanoseconds": nanoseconds, "allocations": (allocations * 10.0).round() / 10.0});
    FIGURES.with_borrow_mut(|all| all.push(figure));
}

/// One tool against a list of allowed names.
fn items() {
    let names: Vec<String> = (0..7).map(|i| format!("'tool_{i}'")).collect();
    let allow = vec![format!("mcp.tool.name in [{}]", names.join(", "))];
    let spec = Kind::McpAuthorization(v1::Authorization { allow, ..Default::default() });
    let chain = chain(vec![spec]);
    let (head, context) = (request(None), RequestContext::new(([10, 0, 0, 1], 1000).into(), "http", 80));
    let input = context.input(&head);
    let item = McpItem::Tool { target: "github", name: "tool_6", federated_name: "github_tool_6", arguments: None };
    let times = 500_000;
    let (start, region) = (Instant::now(), Region::new(ALLOCATOR));
    for _ in 0..times {
        assert!(chain.mcp_authorization().iter().all(|rules| rules.allows(black_box(&item), &input)));
    }
    let (nanoseconds, allocations) = (start.elapsed().as_nanos() / times, region.change().allocations);
    tell("rule on an MCP tool, seven names", nanoseconds, allocations as f64 / times as f64);
}

fn chain(kinds: Vec<Kind>) -> Chain {
    let specs: Vec<_> = kinds.into_iter().map(|kind| v1::PolicySpec { kind: Some(kind) }).collect();
    let attached: Vec<_> = specs.iter().map(|spec| Attached { spec, source: "bench", key: "bench" }).collect();
    let chain = Chain::compile(&attached, &State::new());
    assert_eq!(chain.errors(), []);
    chain
}

fn request(authorization: Option<&str>) -> Parts {
    let mut builder = http::Request::builder()
        .uri("/v1/things?q=1")
        .header("host", "a.example")
        .header("user-agent", "bench")
        .header("accept", "*/*")
        .header("x-team", "search");
    if let Some(value) = authorization {
        builder = builder.header("authorization", value);
    }
    builder.body(()).map(|r| r.into_parts().0).unwrap_or_else(|_| http::Request::new(()).into_parts().0)
}

fn rules(allow: &[&str]) -> Kind {
    let allow = allow.iter().map(ToString::to_string).collect();
    Kind::Authorization(v1::Authorization { allow, ..Default::default() })
}

fn limit() -> Kind {
    let limit = v1::LocalRateLimit {
        max_tokens: u64::MAX / 2,
        tokens_per_fill: 1,
        fill_interval_milliseconds: 1000,
        ..Default::default()
    };
    Kind::LocalRateLimit(limit)
}

fn modifier() -> Kind {
    let header = |name: &str| v1::Header { name: name.into(), value: "value".into() };
    let modifier = v1::HeaderModifier { set: vec![header("x-a"), header("x-b")], ..Default::default() };
    Kind::RequestHeaderModifier(modifier)
}

fn jwt(key: &Value) -> Kind {
    let jwks = json!({ "keys": [key] }).to_string();
    let providers =
        vec![v1::JwtProvider { issuer: "issuer".into(), audiences: vec!["us".into()], jwks, ..Default::default() }];
    Kind::Jwt(v1::JwtAuthentication { providers, ..Default::default() })
}

type Sign = Box<dyn Fn(usize) -> String>;

fn signed(algorithm: &str, number: usize) -> String {
    let claims = json!({"iss": "issuer", "aud": "us", "sub": number, "exp": 4_000_000_000_u64});
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(json!({ "alg": algorithm })), encode(claims))
}

fn rsa() -> (&'static str, Sign, Value) {
    let Ok(pair) = RsaKeyPair::from_pkcs8(include_bytes!("../testdata/rsa-for-tests-only.p8")) else {
        unreachable!("the file holds a key");
    };
    let public: RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
    let key = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(public.n), "e": URL_SAFE_NO_PAD.encode(public.e)});
    let sign = move |number| {
        let signed = signed("RS256", number);
        let mut signature = vec![0; pair.public().modulus_len()];
        let done = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        assert!(done.is_ok());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    ("JWT RS256 with 2048 bits", Box::new(sign), key)
}

fn ecdsa() -> (&'static str, Sign, Value) {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map(|key| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random));
    let Ok(Ok(pair)) = pair else { unreachable!("a key can be made") };
    let point = pair.public_key().as_ref().get(1..).unwrap_or_default().split_at(32);
    let key = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(point.0), "y": URL_SAFE_NO_PAD.encode(point.1)});
    let sign = move |number| {
        let signed = signed("ES256", number);
        let signature = pair.sign(&random, signed.as_bytes()).map(|s| URL_SAFE_NO_PAD.encode(s)).unwrap_or_default();
        format!("{signed}.{signature}")
    };
    ("JWT ES256", Box::new(sign), key)
}
