"""Outlier detection: what ejects an endpoint, for how long, how many, and how it comes back."""

import time

import pytest

from support.load import Load
from support.proxy import routes, to
from support.wait import until


def shares(*hosts, **policies):
    """One backend of several hosts."""
    static = {"hosts": [{"host": host.host, "port": host.port} for host in hosts]}
    return {"static": static, "policies": policies}


def ejected(proxy) -> float:
    return proxy.metric("agentgateway_upstream_endpoints_ejected")


@pytest.fixture
def hosts(backend):
    return [backend(name) for name in ("a", "b", "c")]


def test_an_endpoint_that_fails_is_ejected_and_recovers(gateway, hosts):
    outlier = {"consecutive5xx": 3, "baseEjectionTime": "1500ms", "maxEjectionPercent": 50}
    proxy = gateway(to(shares(*hosts, outlierDetection=outlier)))
    hosts[0].stop()
    # Refused connections go elsewhere at once, and an endpoint that refused one is tried again after a second only.
    until(lambda: proxy.get().status == 200 and ejected(proxy) == 1, 6, "an ejection")
    assert proxy.metric("agentgateway_upstream_endpoints_serving") == 2
    [balancer] = [b["host"]["balancer"] for b in proxy.dump()["backends"]]
    assert [e["ejected"] for e in balancer["endpoints"]] == [True, False, False]
    hosts[0].start()
    before = len(hosts[0].seen)
    until(lambda: ejected(proxy) == 0, 3, "the end of the ejection")
    for _ in range(60):
        assert proxy.get().status == 200
    assert len(hosts[0].seen) > before
    assert proxy.metric("agentgateway_upstream_ejections_total") == 1


def test_answers_that_fail_count_and_the_ejection_grows(gateway, hosts):
    outlier = {"consecutive5xx": 2, "baseEjectionTime": "400ms", "interval": "60s"}
    proxy = gateway(to(shares(hosts[0], outlierDetection=outlier), matches=[{"path": {"exact": "/a"}}]))
    lasted = []
    for _ in range(3):
        for _ in range(2):
            assert proxy.get("/a?status=500").status == 500
        start = time.monotonic()
        until(lambda: ejected(proxy) == 1, 1, "an ejection")
        until(lambda: ejected(proxy) == 0, 3, "its end")
        lasted.append(time.monotonic() - start)
    for lasts, expected in zip(lasted, (0.4, 0.8, 1.2)):
        assert expected - 0.15 < lasts < expected + 0.35, lasted


def test_success_between_failures_keeps_an_endpoint(gateway, hosts):
    proxy = gateway(to(shares(hosts[0], outlierDetection={"consecutive5xx": 2})))
    for _ in range(5):
        assert (proxy.get("/?status=500").status, proxy.get().status) == (500, 200)
    assert proxy.metric("agentgateway_upstream_ejections_total") == 0


def test_gateway_errors_alone(gateway, hosts):
    outlier = {"consecutive5xx": 0, "consecutiveGatewayErrors": 2}
    proxy = gateway(to(shares(hosts[0], outlierDetection=outlier)))
    for _ in range(5):
        proxy.get("/?status=500")
    assert ejected(proxy) == 0
    for _ in range(2):
        proxy.get("/?status=503")
    until(lambda: ejected(proxy) == 1, 1, "an ejection")


def test_no_more_are_ejected_than_allowed(gateway, backend):
    hosts = [backend(str(n)) for n in range(5)]
    outlier = {"consecutive5xx": 1, "maxEjectionPercent": 40}
    proxy = gateway(to(shares(*hosts, outlierDetection=outlier)))
    for _ in range(100):
        proxy.get("/?status=500")
    assert ejected(proxy) == 2
    # Three of five still get requests, those that failed too.
    answered = {proxy.get("/?status=500").status for _ in range(10)}
    assert answered == {500}


def test_when_all_are_ejected_all_get_requests_unless_that_is_switched_off(gateway, hosts):
    outlier = {"consecutive5xx": 1, "maxEjectionPercent": 100, "baseEjectionTime": "60s"}
    proxy = gateway(
        to(shares(*hosts[:2], outlierDetection=outlier), matches=[{"path": {"pathPrefix": "/panic"}}]),
        to(shares(*hosts[:2], outlierDetection=outlier, loadBalancer={"healthyPanicThreshold": 0})),
    )
    for path in ("/panic", "/"):
        for _ in range(40):
            proxy.get(f"{path}?status=500")
    until(lambda: ejected(proxy) == 4, 1, "all are ejected")
    assert proxy.get("/panic").status == 200
    assert proxy.get("/").status == 503
    assert "reason=no_endpoints" in proxy.access_lines("status=503")[-1]


def test_no_request_fails_when_one_of_three_dies_with_retries(gateway, hosts):
    outlier = {"consecutive5xx": 3, "baseEjectionTime": "60s", "maxEjectionPercent": 50}
    retry = {"attempts": 2, "backoff": "5ms", "codes": [502, 503]}
    proxy = gateway(to(shares(*hosts, outlierDetection=outlier), policies={"retry": retry}))
    with Load(proxy.port) as load:
        load.wait_for(200)
        hosts[1].stop()
        until(lambda: ejected(proxy) == 1, 8, "an ejection")
        load.wait_for(500)
    assert load.failures == []


def test_a_reload_keeps_what_is_known(gateway, hosts):
    outlier = {"consecutive5xx": 1, "baseEjectionTime": "60s", "maxEjectionPercent": 50}
    proxy = gateway(to(shares(*hosts, outlierDetection=outlier)))
    hosts[0].stop()
    until(lambda: proxy.get() and ejected(proxy) == 1, 3, "an ejection")
    other = to(shares(*hosts, outlierDetection={**outlier, "interval": "20s"}))
    proxy.reload(routes(proxy.port, other))
    assert ejected(proxy) == 1
    proxy.reload(routes(proxy.port, to(shares(*hosts))))
    assert "agentgateway_upstream_endpoints_ejected{" not in proxy.metrics(), "a backend without policies has no state"


def test_late_answers_count(gateway, hosts):
    outlier = {"consecutive5xx": 2, "baseEjectionTime": "60s"}
    proxy = gateway(
        to(shares(hosts[0], outlierDetection=outlier), policies={"timeout": {"backendRequestTimeout": "150ms"}}, matches=[{"path": {"pathPrefix": "/try"}}]),
        to(shares(hosts[1], outlierDetection=outlier), policies={"timeout": {"requestTimeout": "150ms"}}),
    )
    for path in ("/try", "/"):
        for _ in range(2):
            assert proxy.get(f"{path}?delay=1").status == 504
    until(lambda: ejected(proxy) == 2, 1, "both are ejected")


@pytest.mark.root
def test_addresses_of_a_name(gateway, backend, named):
    first = backend("first", host="127.0.0.2")
    backend("second", port=first.port, host="127.0.0.3")
    outlier = {"consecutive5xx": 2, "baseEjectionTime": "60s", "maxEjectionPercent": 50}
    share = {"host": f"both.test:{first.port}", "policies": {"outlierDetection": outlier}}
    proxy = gateway(to(share), prefix=named(both=["127.0.0.2", "127.0.0.3"]))
    first.stop()
    until(lambda: proxy.get().status == 200 and ejected(proxy) == 1, 6, "an ejection")
    assert {proxy.get().json()["backend"] for _ in range(20)} == {"second"}


def test_a_name_that_is_unknown_fails_at_once(gateway):
    proxy = gateway(to({"host": "absent.invalid:80", "policies": {"outlierDetection": {}}}))
    assert proxy.get().status == 503
    start = time.monotonic()
    assert proxy.get().status == 503
    assert time.monotonic() - start < 1
    assert "reason=dns_failure" in proxy.access_lines("status=503")[-1]
