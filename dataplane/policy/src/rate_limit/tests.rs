use tokio::time::advance;

use super::*;
use crate::testing::{Nothing, context, request};
use crate::{Attached, Chain};
use agentgateway_proto::v1::{local_rate_limit::Unit, policy_spec::Kind};

fn spec(max_tokens: u64, tokens_per_fill: u64, fill_interval_milliseconds: u64) -> v1::LocalRateLimit {
    v1::LocalRateLimit { max_tokens, tokens_per_fill, fill_interval_milliseconds, ..Default::default() }
}

fn compile(spec: &v1::LocalRateLimit) -> RateLimit {
    RateLimit::compile(spec, "k", "p", &State::new()).expect("compiles")
}

fn ask(limit: &RateLimit, headers: &[(&str, &str)]) -> Result<(), Box<Reply>> {
    limit.on_request(&request("GET", "/", headers), &mut context()).map_err(Box::new)
}

fn allowed(limit: &RateLimit, tries: usize) -> usize {
    (0..tries).filter(|_| ask(limit, &[]).is_ok()).count()
}

fn header(reply: &Reply, name: &str) -> String {
    reply.response.headers()[name].to_str().expect("text").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_burst_then_as_much_as_is_filled_and_never_more_than_fits() {
    let limit = compile(&spec(5, 2, 1000));
    assert_eq!(allowed(&limit, 10), 5);
    advance(Duration::from_millis(999)).await;
    assert_eq!(allowed(&limit, 10), 0);
    advance(Duration::from_millis(1)).await;
    assert_eq!(allowed(&limit, 10), 2);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(allowed(&limit, 10), 5);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_to_come_back() {
    let limit = compile(&spec(1, 1, 60_000));
    assert_eq!(allowed(&limit, 1), 1);
    advance(Duration::from_millis(18_500)).await;
    let reply = ask(&limit, &[]).expect_err("is refused");
    assert_eq!(reply.response.status(), 429);
    assert_eq!(
        ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|n| header(&reply, n)),
        ["42", "1", "0", "42"]
    );
    advance(Duration::from_secs(42)).await;
    assert_eq!(allowed(&limit, 2), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_fills_nothing() {
    let state = State::new();
    let compile = |max| RateLimit::compile(&spec(max, 1, 1000), "k", "p", &state).expect("compiles");
    let first = compile(4);
    assert_eq!(allowed(&first, 3), 3);
    let same = compile(4);
    assert_eq!(allowed(&same, 10), 1);
    drop(first);
    let larger = compile(10);
    assert_eq!(allowed(&larger, 20), 0, "a level is kept when the size changes");
    drop((same, larger));
    assert_eq!(allowed(&compile(4), 10), 4, "a limit that was gone starts full");
}

#[tokio::test(start_paused = true)]
async fn a_shrunk_bucket_holds_no_more_than_fits() {
    let state = State::new();
    let large = RateLimit::compile(&spec(100, 1, 1000), "k", "p", &state).expect("compiles");
    let small = RateLimit::compile(&spec(3, 1, 1000), "k", "p", &state).expect("compiles");
    assert_eq!(allowed(&small, 10), 3);
    drop(large);
}

#[test]
fn threads_share_one_bucket() {
    let limit = compile(&spec(1000, 1, 3_600_000));
    let sum: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| allowed(&limit, 500))).collect();
        threads.into_iter().map(|t| t.join().expect("ends")).sum()
    });
    assert_eq!(sum, 1000);
}

#[test]
fn refuses_what_cannot_be_meant() {
    let key = |key: &str| v1::LocalRateLimit { key: vec![key.into()], ..spec(1, 1, 1) };
    let cost = v1::LocalRateLimit { cost: "2".into(), unit: Unit::Tokens.into(), ..spec(1, 1, 1) };
    for bad in [spec(0, 1, 1), spec(1, 0, 1), spec(1, 1, 0), key("nothing.known"), key("mcp.tool.name"), cost] {
        assert!(RateLimit::compile(&bad, "k", "p", &State::new()).is_err(), "{bad:?}");
    }
}

#[test]
fn every_value_of_the_key_has_its_own_bucket_and_so_have_all_without_one() {
    let limit = compile(&v1::LocalRateLimit { key: vec!["request.headers['x-user']".into()], ..spec(2, 1, 3_600_000) });
    let passed = |headers: &[(&str, &str)]| (0..5).filter(|_| ask(&limit, headers).is_ok()).count();
    assert_eq!(passed(&[("x-user", "ada")]), 2);
    assert_eq!(passed(&[("x-user", "bob")]), 2);
    assert_eq!(passed(&[]), 2);
    assert_eq!(passed(&[("x-other", "1")]), 0, "who leaves the header out shares one bucket");
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_from_all_buckets_or_from_none() {
    let by_user = v1::LocalRateLimit { key: vec!["request.headers['x-user']".into()], ..spec(1, 1, 1000) };
    let limit = compile(&v1::LocalRateLimit { also: vec![by_user], ..spec(3, 1, 3_600_000) });
    let passed = |user: &str, tries: usize| (0..tries).filter(|_| ask(&limit, &[("x-user", user)]).is_ok()).count();
    assert_eq!(passed("ada", 10), 1);
    assert_eq!((passed("bob", 10), passed("eve", 10), passed("zoe", 10)), (1, 1, 0), "refusals took nothing");
    assert_eq!(limit.counters.rate_limited.load(Ordering::Relaxed), 9 + 9 + 9 + 10);
}

#[test]
fn a_request_costs_what_the_expression_says() {
    let limit =
        compile(&v1::LocalRateLimit { cost: "int(request.headers['x-cost'])".into(), ..spec(10, 1, 3_600_000) });
    assert!(ask(&limit, &[("x-cost", "7")]).is_ok());
    assert_eq!(header(&ask(&limit, &[("x-cost", "4")]).expect_err("too much"), "x-ratelimit-remaining"), "3");
    assert!(ask(&limit, &[("x-cost", "0")]).is_ok());
    assert!(ask(&limit, &[("x-cost", "3")]).is_ok());
    for bad in ["-1", "x"] {
        let reply = ask(&limit, &[("x-cost", bad)]).expect_err("no cost");
        assert!(reply.reason.to_string().contains("cost"), "{}", reply.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_cost_is_told_to_wait_for_as_many_fills_as_it_takes() {
    let limit = compile(&v1::LocalRateLimit { cost: "5".into(), ..spec(6, 2, 10_000) });
    assert!(ask(&limit, &[]).is_ok());
    advance(Duration::from_secs(4)).await;
    assert_eq!(header(&ask(&limit, &[]).expect_err("one is left"), "retry-after"), "16");
    advance(Duration::from_secs(16)).await;
    assert!(ask(&limit, &[]).is_ok());
}

#[test]
fn responses_say_what_is_left_where_they_are_asked_to() {
    let limit = compile(&v1::LocalRateLimit { headers: true, also: vec![spec(2, 1, 60_000)], ..spec(9, 3, 1000) });
    let mut context = context();
    limit.on_request(&request("GET", "/", &[]), &mut context).expect("passes");
    let mut head = http::Response::new(()).into_parts().0;
    limit.on_response(&mut head, &context);
    assert_eq!(head.headers["x-ratelimit-limit"], "2, 1;w=60");
    assert_eq!(head.headers["x-ratelimit-remaining"], "1");
}

fn tokens(spec: v1::LocalRateLimit) -> Vec<Arc<Chain>> {
    let spec = v1::LocalRateLimit { unit: Unit::Tokens.into(), ..spec };
    let spec = v1::PolicySpec { kind: Some(Kind::LocalRateLimit(spec)) };
    let chain = Chain::compile(&[Attached { spec: &spec, source: "p", key: "k" }], &State::new());
    assert_eq!(chain.errors(), []);
    vec![Arc::new(chain)]
}

async fn admit(chains: &[Arc<Chain>], estimate: u64) -> Result<TokenCharge, Reply> {
    admit_tokens(chains, &request("POST", "/", &[]), &context(), estimate, &Nothing).await
}

#[tokio::test(start_paused = true)]
async fn an_estimate_is_taken_and_corrected_by_the_usage() {
    let chains = tokens(spec(100, 100, 60_000));
    let mut charge = admit(&chains, 60).await.expect("fits");
    assert!(admit(&chains, 41).await.is_err());
    charge.release(10);
    let mut all = admit(&chains, 90).await.expect("50 came back");
    all.release(290);
    assert!(admit(&chains, 0).await.is_err(), "200 in debt");
    advance(Duration::from_secs(120)).await;
    assert!(admit(&chains, 0).await.is_err(), "the debt is paid, and nothing is left");
    advance(Duration::from_secs(60)).await;
    assert!(admit(&chains, 100).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_is_dropped_stays_taken_and_one_that_is_refused_takes_nothing() {
    let chains = tokens(v1::LocalRateLimit { also: vec![], ..spec(100, 1, 3_600_000) });
    drop(admit(&chains, 60).await.expect("fits"));
    assert!(admit(&chains, 50).await.is_err());
    assert!(admit(&chains, 40).await.is_ok());
    let small = tokens(spec(10, 1, 3_600_000));
    let (large, both) = (tokens(spec(100, 1, 3_600_000)), |large: &[Arc<Chain>]| [large, &small[..]].concat());
    assert!(admit(&both(&large), 50).await.is_err());
    assert!(admit(&large, 100).await.is_ok(), "the first limit got its tokens back");
}

#[tokio::test]
async fn requests_themselves_cost_no_tokens() {
    let chains = tokens(spec(1, 1, 3_600_000));
    for _ in 0..3 {
        let mut reach = crate::Reach { services: &Nothing, body: &mut None };
        let passed = chains[0].on_request(&mut request("GET", "/", &[]), &mut context(), &mut reach).await;
        assert!(passed.is_ok());
    }
}
