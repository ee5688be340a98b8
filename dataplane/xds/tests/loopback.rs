//! Server and client against each other.

mod support;

use std::time::{Duration, Instant};

use agentgateway_controlplane_xds::registry::Phase;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use agentgateway_xds_client::{Origin, Rejected};
use support::*;

#[tokio::test]
async fn first_sync_change_and_removal_arrive_as_whole_generations_in_order() {
    let all = [bind("b", 80), route("r", ""), backend("be"), endpoint("e"), listener("l"), limit("p")];
    let control_plane = ControlPlane::serving(&all).await;
    let setup = Proxy::of(&control_plane);
    let mut proxy = setup.start();
    let everything = ["Endpoint/e", "Backend/be", "Policy/p", "Route/r", "Listener/l", "Bind/b"];
    assert_eq!(next(&mut proxy).await, seen(&everything, &[]));

    control_plane.publish(&[bind("b", 81), route("r2", ""), listener("l"), backend("be")]);
    assert_eq!(
        next(&mut proxy).await,
        seen(&["Route/r2", "Bind/b"], &["Route/r", "Policy/p", "Endpoint/e"]),
        "removals the other way round, and only what changed"
    );
    assert!(proxy.status.connected());
    eventually("both generations", || proxy.status.generations() == 2).await;
}

#[tokio::test]
async fn nothing_is_answered_before_the_control_plane_is_synced() {
    let control_plane = ControlPlane::start().await;
    control_plane.publish(&[bind("b", 80)]);
    let setup = Proxy::of(&control_plane);
    let mut proxy = setup.start();
    eventually("the stream", || control_plane.metrics.streams.get() == 1).await;
    let early = tokio::time::timeout(Duration::from_millis(200), proxy.updates.recv()).await;
    assert!(early.is_err(), "an update before the control plane was synced");
    control_plane.registry.set_phase(Phase::Serving);
    assert_eq!(next(&mut proxy).await, seen(&["Bind/b"], &[]));
}

#[tokio::test]
async fn a_slow_proxy_gets_the_newest_generation_next_and_never_a_part_of_one() {
    let control_plane = ControlPlane::serving(&[route("r", "0"), bind("b", 0)]).await;
    let setup = Proxy::of(&control_plane);
    let mut proxy = setup.start();
    let first = next_unanswered(&mut proxy).await;
    for i in 1..=20 {
        control_plane.publish(&[route("r", &i.to_string()), bind("b", i)]);
    }
    first.answer(Vec::new());
    let update = next_unanswered(&mut proxy).await;
    let [Resource::Route(route), Resource::Bind(bind)] = update.changed.as_slice() else { panic!("both resources") };
    assert_eq!((route.rule_name.as_str(), bind.port), ("20", 20), "it jumps to the newest, whole");
    update.answer(Vec::new());
    assert_eq!(control_plane.metrics.pushes.get(), 2);
}

#[tokio::test]
async fn large_snapshots_are_split_and_arrive_whole() {
    let routes: Vec<_> = (0..10).map(|i| route(&format!("r{i}"), &"x".repeat(400_000))).collect();
    let control_plane = ControlPlane::serving(&routes).await;
    let setup = Proxy::of(&control_plane);
    let mut proxy = setup.start();
    assert_eq!(next(&mut proxy).await.changed.len(), 10);
}

#[tokio::test]
async fn one_changed_route_of_a_thousand_sends_only_itself_also_after_a_reconnect() {
    let mut routes: Vec<_> = (0..1_000).map(|i| route(&format!("r{i:04}"), "")).collect();
    let control_plane = ControlPlane::serving(&routes).await;
    let setup = Proxy::of(&control_plane);
    let mut proxy = setup.start();
    assert_eq!(next(&mut proxy).await.changed.len(), 1_000);
    let sent = control_plane.metrics.sent(Kind::Route);
    assert_eq!(sent.get(), 1_000);

    routes[7] = route("r0007", "changed");
    control_plane.publish(&routes);
    assert_eq!(next(&mut proxy).await, seen(&["Route/r0007"], &[]));
    assert_eq!(sent.get(), 1_001);

    let address = control_plane.stop().await;
    eventually("the end of the stream", || !proxy.status.connected()).await;
    routes[9] = route("r0009", "changed meanwhile");
    routes.remove(3);
    let again = ControlPlane::start_at(address, None).await;
    let back = Instant::now();
    again.publish(&routes);
    again.registry.set_phase(Phase::Serving);
    assert_eq!(next(&mut proxy).await, seen(&["Route/r0009"], &["Route/r0003"]));
    assert!(back.elapsed() < Duration::from_secs(5), "a change made meanwhile is live within 5 s of the return");
    assert_eq!(again.metrics.sent(Kind::Route).get(), 1);
    assert_eq!(again.metrics.sent(Kind::Generation).get(), 1);
}

#[tokio::test]
async fn a_rejected_resource_is_reported_with_its_reason_and_cleared_by_its_next_good_version() {
    let control_plane = ControlPlane::serving(&[route("good", ""), route("bad", "")]).await;
    let setup = Proxy::of(&control_plane);
    let mut proxy = setup.start();
    let bad = || vec![Rejected { kind: Kind::Route, key: "bad".into(), reason: "no such thing".into() }];
    next_unanswered(&mut proxy).await.answer(bad());
    eventually("the report", || control_plane.rejections.of_gateway(GATEWAY).len() == 1).await;
    let (reporter, rejection) = control_plane.rejections.of_gateway(GATEWAY).remove(0);
    assert_eq!((reporter.as_str(), rejection.key.as_str()), ("gw-pod", "bad"));
    assert_eq!(rejection.reason, "no such thing");
    assert_eq!(control_plane.metrics.rejected(Kind::Route).get(), 1);
    eventually("the count", || proxy.status.rejected() == 1).await;

    control_plane.publish(&[route("good", "2"), route("bad", "")]);
    assert_eq!(next(&mut proxy).await, seen(&["Route/good"], &[]), "what was refused is not sent again");
    assert_eq!(control_plane.rejections.of_gateway(GATEWAY).len(), 1, "another resource's ACK clears nothing");

    let address = control_plane.stop().await;
    let again = ControlPlane::start_at(address, None).await;
    again.publish(&[route("good", "2"), route("bad", "")]);
    again.registry.set_phase(Phase::Serving);
    let update = next_unanswered(&mut proxy).await;
    assert_eq!(Seen::of(&update), seen(&["Route/bad"], &[]), "a new control plane hears of it too");
    update.answer(bad());
    eventually("the report", || again.rejections.of_gateway(GATEWAY).len() == 1).await;

    again.publish(&[route("good", "2"), route("bad", "mended")]);
    assert_eq!(next(&mut proxy).await, seen(&["Route/bad"], &[]));
    eventually("the report to go", || again.rejections.of_gateway(GATEWAY).is_empty()).await;
    eventually("the count", || proxy.status.rejected() == 0).await;
}

#[tokio::test]
async fn a_proxy_starts_from_its_kept_snapshot_and_asks_for_the_difference_only() {
    let control_plane = ControlPlane::serving(&[route("r", ""), bind("b", 80)]).await;
    let mut setup = Proxy::of(&control_plane);
    setup.config.snapshot = Some(setup.path("snapshot"));
    let mut first = setup.start();
    next(&mut first).await;
    eventually("the file", || setup.path("snapshot").exists()).await;
    drop(first);
    let address = control_plane.stop().await;

    let mut restarted = setup.start();
    let update = next_unanswered(&mut restarted).await;
    assert!(matches!(update.origin, Origin::Kept(_)), "without a control plane");
    assert_eq!(Seen::of(&update), seen(&["Route/r", "Bind/b"], &[]));
    update.answer(Vec::new());
    eventually("an age", || restarted.status.age().is_some_and(|age| age > Duration::ZERO)).await;

    let again = ControlPlane::start_at(address, None).await;
    again.publish(&[route("r", ""), bind("b", 81)]);
    again.registry.set_phase(Phase::Serving);
    assert_eq!(next(&mut restarted).await, seen(&["Bind/b"], &[]));
    assert_eq!(again.metrics.sent(Kind::Route).get(), 0);

    let mut foreign = setup.config.clone();
    foreign.gateway = "infra/other".into();
    let mut foreign = agentgateway_xds_client::start(foreign);
    let nothing = tokio::time::timeout(Duration::from_millis(300), foreign.updates.recv()).await;
    assert!(nothing.is_err(), "another gateway's file and resources are not for this proxy");
}

#[tokio::test]
async fn a_wrong_token_and_another_gateway_are_refused_until_they_are_right() {
    let control_plane = ControlPlane::serving(&[bind("b", 80)]).await;
    let setup = Proxy::of(&control_plane);
    std::fs::write(setup.path("token"), "guessed").expect("token");
    let mut proxy = setup.start();
    let mut other = Proxy::of(&control_plane);
    other.config.gateway = "infra/other".into();
    let mut other_started = other.start();
    eventually("refusals", || control_plane.metrics.refused.get() >= 3).await;
    assert!(other_started.updates.try_recv().is_err());
    assert!(proxy.updates.try_recv().is_err());
    assert_eq!(control_plane.metrics.streams.get(), 0);

    std::fs::write(setup.path("token"), TOKEN).expect("token");
    assert_eq!(next(&mut proxy).await, seen(&["Bind/b"], &[]), "the token file is read again at each connect");
}

#[tokio::test]
async fn an_older_proxy_gets_a_deny_for_a_policy_it_does_not_know() {
    let control_plane = ControlPlane::serving(&[limit("p")]).await;
    let mut old = Proxy::of(&control_plane);
    old.config.capabilities.fields.remove("LocalRateLimit.max_tokens");
    let same_release = Proxy::of(&control_plane);
    let (mut old_started, mut new) = (old.start(), same_release.start());
    let spec = |update: &agentgateway_xds_client::ConfigUpdate| match update.changed.as_slice() {
        [Resource::Policy(policy)] => policy.spec.clone().and_then(|s| s.kind),
        other => panic!("not one policy: {other:?}"),
    };
    let (seen_old, seen_new) = (next_unanswered(&mut old_started).await, next_unanswered(&mut new).await);
    assert!(matches!(spec(&seen_old), Some(v1::policy_spec::Kind::Deny(_))));
    assert!(matches!(spec(&seen_new), Some(v1::policy_spec::Kind::LocalRateLimit(_))), "on that stream alone");
}

#[tokio::test]
async fn a_proxy_of_a_release_without_a_kind_is_served_without_it() {
    let control_plane = ControlPlane::serving(&[endpoint("e"), bind("b", 80)]).await;
    let mut old = Proxy::of(&control_plane);
    old.config.capabilities.kinds.remove("Endpoint");
    assert_eq!(next(&mut old.start()).await, seen(&["Bind/b"], &[]));
}
