use std::collections::BTreeMap;

use agentgateway_proto::v1::{LoadBalancer, PolicySpec, load_balancer, policy_spec};

use super::*;
use crate::balancer::breaker::Shared;
use crate::endpoint::{Connecting, EndpointRegistry};

fn settings(spec: LoadBalancer) -> Settings {
    let spec = PolicySpec { kind: Some(policy_spec::Kind::LoadBalancer(spec)) };
    Settings::compile(std::iter::once(&spec)).expect("compiles").expect("is set")
}

/// Members by level; the last number of an address counts from 1 over all.
fn members(levels: &[usize]) -> Vec<(Arc<Member>, u32)> {
    let (registry, shared) = (EndpointRegistry::default(), Arc::new(Shared::default()));
    let all = (0_u32..).zip(levels).flat_map(|(level, n)| vec![level; *n]);
    let member = |i| {
        let endpoint = registry.get(([10, 0, 0, i], 80).into(), &Connecting::default());
        Arc::new(Member::new(endpoint, Arc::clone(&shared)))
    };
    (1..).zip(all).map(|(i, level)| (member(i), level)).collect()
}

fn eject(members: &[(Arc<Member>, u32)], which: impl IntoIterator<Item = usize>) {
    which.into_iter().for_each(|i| members[i].0.ejected.store(true, Ordering::Relaxed));
}

/// How many of 10,000 requests each address gets, by its last number.
fn spread(view: &View, hash: impl Fn(u64) -> Option<u64>) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    for n in 0..10_000 {
        let Some(member) = view.pick(hash(n), &[]) else { continue };
        let std::net::IpAddr::V4(ip) = member.endpoint.address().ip() else { panic!("not of IPv4") };
        *counts.entry(ip.octets()[3]).or_default() += 1;
    }
    counts
}

#[test]
fn each_algorithm_spreads_requests() {
    use load_balancer::{Algorithm, Maglev, Random, RingHash, RoundRobin};
    let key = |n: u64| Some(super::super::table::hash(&n.to_le_bytes()));
    for algorithm in [
        None,
        Some(Algorithm::Random(Random {})),
        Some(Algorithm::RoundRobin(RoundRobin {})),
        Some(Algorithm::Maglev(Maglev {})),
        Some(Algorithm::RingHash(RingHash { minimum_ring_size: Some(8192), ..RingHash::default() })),
    ] {
        let view = View::new(&members(&[4]), &settings(LoadBalancer { algorithm, ..LoadBalancer::default() }));
        let counts = spread(&view, key);
        assert_eq!(counts.len(), 4, "{algorithm:?}");
        assert!(counts.values().all(|n| (2000..3000).contains(n)), "{algorithm:?} {counts:?}");
    }
}

#[test]
fn round_robin_takes_turns() {
    let algorithm = Some(load_balancer::Algorithm::RoundRobin(load_balancer::RoundRobin {}));
    let view = View::new(&members(&[3]), &settings(LoadBalancer { algorithm, ..LoadBalancer::default() }));
    let order: Vec<_> = (0..6).map(|_| view.pick(None, &[]).expect("one").endpoint.address()).collect();
    assert_eq!(order[..3], order[3..]);
}

#[test]
fn one_hash_goes_to_one_endpoint() {
    let algorithm = Some(load_balancer::Algorithm::Maglev(load_balancer::Maglev {}));
    let view = View::new(&members(&[9]), &settings(LoadBalancer { algorithm, ..LoadBalancer::default() }));
    assert_eq!(spread(&view, |_| Some(77)).len(), 1);
}

#[test]
fn what_is_ejected_gets_nothing_until_too_few_are_left() {
    let all = members(&[4]);
    let settings = settings(LoadBalancer::default());
    eject(&all, [0]);
    let counts = spread(&View::new(&all, &settings), |_| None);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    eject(&all, [1, 2]);
    assert_eq!(spread(&View::new(&all, &settings), |_| None).len(), 4, "with one of four left all are used");
    let never = self::settings(LoadBalancer { healthy_panic_percent: Some(0), ..LoadBalancer::default() });
    assert_eq!(spread(&View::new(&all, &never), |_| None).len(), 1);
    eject(&all, [3]);
    assert!(View::new(&all, &never).pick(None, &[]).is_none());
}

#[test]
fn levels_fail_over_little_by_little() {
    let all = members(&[10, 10, 10]);
    let settings = settings(LoadBalancer::default());
    let of_level = |view: &View, level: u8| -> usize {
        spread(view, |_| None).iter().filter(|(i, _)| (*i - 1) / 10 == level).map(|(_, n)| n).sum()
    };
    assert_eq!(of_level(&View::new(&all, &settings), 0), 10_000);
    eject(&all, 0..2);
    assert_eq!(of_level(&View::new(&all, &settings), 0), 10_000, "eight of ten can take all");
    eject(&all, 2..5);
    let view = View::new(&all, &settings);
    assert!((6700..7300).contains(&of_level(&view, 0)), "five of ten take 70 of 100");
    assert_eq!(of_level(&view, 2), 0);
    eject(&all, 5..10);
    assert_eq!(of_level(&View::new(&all, &settings), 1), 10_000);
    eject(&all, 10..19);
    let view = View::new(&all, &settings);
    assert_eq!((of_level(&view, 0), of_level(&view, 1) > 0, of_level(&view, 2) > 8000), (0, true, true));
}

#[test]
fn another_level_serves_while_all_of_the_first_refuse() {
    let all = members(&[1, 1]);
    let view = View::new(&all, &settings(LoadBalancer::default()));
    assert_eq!((view.serving(), spread(&view, |_| None).len()), (1, 1));
    all[0].0.endpoint.avoid_for(std::time::Duration::from_secs(60));
    assert_eq!(spread(&view, |_| None).keys().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn endpoints_that_were_tried_come_last() {
    let all = members(&[2, 1]);
    let view = View::new(&all, &settings(LoadBalancer::default()));
    let endpoint = |i: usize| Arc::clone(&all[i].0.endpoint);
    for _ in 0..50 {
        assert!(Arc::ptr_eq(&view.pick(None, &[endpoint(0)]).expect("another").endpoint, &endpoint(1)));
    }
    assert!(view.pick(None, &[endpoint(0), endpoint(1), endpoint(2)]).is_some(), "any, when all were tried");
}

#[test]
fn an_endpoint_that_comes_gets_less_at_first() {
    let all = members(&[4]);
    let slow_start = Some(load_balancer::SlowStart {
        window_milliseconds: 3_600_000,
        min_weight_percent: Some(10),
        ..Default::default()
    });
    let settings = settings(LoadBalancer { slow_start, ..LoadBalancer::default() });
    all[3].0.start_slowly();
    let counts = spread(&View::new(&all, &settings), |_| None);
    assert!((100..600).contains(&counts[&4]), "{counts:?}");
    all[3].0.has_started();
    assert!(spread(&View::new(&all, &settings), |_| None)[&4] > 2000);
}

#[test]
fn no_key_stays_with_endpoints_that_refused() {
    use load_balancer::{Algorithm, Maglev, RingHash};
    for algorithm in [Algorithm::Maglev(Maglev {}), Algorithm::RingHash(RingHash::default())] {
        let all = members(&[9]);
        let view = View::new(&all, &settings(LoadBalancer { algorithm: Some(algorithm), ..LoadBalancer::default() }));
        for (member, _) in &all[..8] {
            member.endpoint.avoid_for(std::time::Duration::from_secs(60));
        }
        let counts = spread(&view, |n| Some(super::super::table::hash(&n.to_le_bytes())));
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [9]);
    }
}
