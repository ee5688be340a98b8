"""Load balancing: each algorithm, hashes, slow start, priorities."""

import collections
import threading
import time

import pytest

from support.proxy import routes, to
from support.wait import until


def shares(hosts, priorities=None, **policies):
    static = {"hosts": [{"host": h.host, "port": h.port} for h in hosts]}
    for entry, priority in zip(static["hosts"], priorities or []):
        entry["priority"] = priority
    return {"static": static, "policies": policies}


@pytest.fixture
def hosts(backend):
    return [backend(str(n)) for n in range(5)]


def spread(proxy, count=500, headers=lambda n: ()):
    return collections.Counter(proxy.get(headers=headers(n)).json()["backend"] for n in range(count))


@pytest.mark.parametrize(
    "policy, least, most",
    [({"roundRobin": {}}, 100, 100), ({"random": {}}, 60, 145), ({"leastRequest": {"choiceCount": 3}}, 20, 300), ({}, 20, 300)],
)
def test_requests_are_spread(gateway, hosts, policy, least, most):
    proxy = gateway(to(shares(hosts, loadBalancer=policy)))
    counts = spread(proxy)
    assert len(counts) == 5 and min(counts.values()) >= least and max(counts.values()) <= most, counts


def test_least_request_avoids_the_busy_one(gateway, hosts):
    proxy = gateway(to(shares(hosts[:2], loadBalancer={"leastRequest": {}})))
    slow = threading.Thread(target=lambda: proxy.get("/?delay=1.5"))
    slow.start()
    until(lambda: hosts[0].seen or hosts[1].seen, 2, "the slow request")
    busy = hosts[0] if hosts[0].seen else hosts[1]
    assert spread(proxy, 50)[busy.name] == 0
    slow.join()


@pytest.mark.parametrize("algorithm", ["ringHash", "maglev"])
def test_about_a_share_of_the_keys_moves_when_an_endpoint_goes(gateway, hosts, algorithm):
    policy = {algorithm: {"hashPolicies": [{"header": {"name": "x-user"}}]}}
    if algorithm == "ringHash":
        policy[algorithm]["minimumRingSize"] = 4096
    proxy = gateway(to(shares(hosts, loadBalancer=policy)))

    def places():
        return {n: proxy.get(headers={"x-user": f"user-{n}"}).json()["backend"] for n in range(400)}

    before = places()
    assert places() == before, "equal keys go to one endpoint"
    assert min(collections.Counter(before.values()).values()) > 30
    proxy.reload(routes(proxy.port, to(shares(hosts[:4], loadBalancer=policy))))
    after = places()
    own = sum(place == "4" for place in before.values())
    moved = sum(before[n] != after[n] for n in before)
    # One of five: its keys must move, and few others.
    assert own <= moved <= own + 0.06 * 400, (own, moved)
    assert 0.1 * 400 < moved < 0.32 * 400, moved


def test_hash_of_cookie_source_and_expression(gateway, hosts):
    def route(prefix, *policies):
        balancer = {"maglev": {"hashPolicies": list(policies)}}
        return to(shares(hosts, loadBalancer=balancer), matches=[{"path": {"pathPrefix": prefix}}])

    proxy = gateway(
        route("/cookie", {"cookie": {"name": "id"}}),
        route("/source", {"sourceIP": {}}),
        route("/cel", {"expression": "request.headers['x-a']"}),
        route("/both", {"header": {"name": "x-a"}, "terminal": True}, {"header": {"name": "x-b"}}),
    )

    def places(path, headers):
        return {proxy.get(path, headers=headers(n)).json()["backend"] for n in range(30)}

    assert len(places("/cookie", lambda n: {"cookie": f"other={n}; id=7"})) == 1
    assert len(places("/cookie", lambda n: {"cookie": f"id={n}"})) > 2
    assert len(places("/source", lambda n: {"x-a": str(n)})) == 1
    assert len(places("/cel", lambda n: {"x-a": "1", "x-b": str(n)})) == 1
    assert len(places("/cel", lambda n: {"x-a": str(n)})) > 2
    assert len(places("/both", lambda n: {"x-a": "1", "x-b": str(n)})) == 1
    assert len(places("/both", lambda n: {"x-b": str(n)})) > 2
    assert len(places("/cel", lambda n: {})) > 2, "without a key any endpoint serves"


def test_an_endpoint_that_is_gone_gives_its_keys_to_others_at_once(gateway, hosts):
    balancer = {"maglev": {"hashPolicies": [{"header": {"name": "x-user"}}]}}
    proxy = gateway(to(shares(hosts, loadBalancer=balancer)))
    hosts[2].stop()
    for n in range(100):
        assert proxy.get(headers={"x-user": str(n)}).status == 200


def test_a_new_endpoint_starts_slowly(gateway, hosts):
    policy = {"roundRobin": {"slowStart": {"window": "4s", "minWeightPercent": 10}}}
    proxy = gateway(to(shares(hosts[:4], loadBalancer=policy)))
    assert min(spread(proxy, 100).values()) == 25, "the first endpoints all have their share"
    proxy.reload(routes(proxy.port, to(shares(hosts, loadBalancer=policy))))
    at_first = spread(proxy, 200)["4"]
    # Of 40 that are its share; the busier the machine, the more of the window has passed.
    assert at_first < 35, at_first
    time.sleep(4.2)
    assert spread(proxy, 200)["4"] == 40


def test_the_next_priority_takes_over_and_gives_back(gateway, hosts):
    outlier = {"consecutive5xx": 1, "baseEjectionTime": "1s", "maxEjectionPercent": 100}
    proxy = gateway(to(shares(hosts[:4], [0, 0, 1, 1], outlierDetection=outlier), policies={"retry": {"attempts": 3, "backoff": "1ms"}}))
    assert set(spread(proxy, 100)) == {"0", "1"}
    hosts[0].stop()
    hosts[1].stop()
    until(lambda: proxy.get().status == 200 and proxy.metric("agentgateway_upstream_endpoints_ejected") == 2, 3, "both ejected")
    assert set(spread(proxy, 50)) == {"2", "3"}
    hosts[0].start()
    hosts[1].start()
    until(lambda: proxy.metric("agentgateway_upstream_endpoints_ejected") == 0, 5, "both back")
    assert set(spread(proxy, 50)) == {"0", "1"}


def test_near_hosts_come_first(gateway, hosts):
    share = shares(hosts, [0, 0, 0, 0, 1], loadBalancer={"trafficDistribution": "PreferClose"})
    for entry, (region, zone) in zip(share["static"]["hosts"], [("n", "n-a"), ("n", "n-b"), ("s", "s-a"), ("s", "s-b"), ("n", "n-a")]):
        entry.update(region=region, zone=zone)
    route = to(share)
    for arguments, expected in [(("--zone", "n-a", "--region", "n"), "0"), (("--region", "n"), "01"), (("--region", "x"), "0123"), ((), "0123")]:
        proxy = gateway(route, arguments=arguments)
        assert set(spread(proxy, 80)) == set(expected), arguments


def test_priorities_need_no_policy(gateway, hosts):
    proxy = gateway(to(shares(hosts[:2], [0, 1])))
    assert set(spread(proxy, 30)) == {"0"}
