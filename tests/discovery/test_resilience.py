"""Policies about endpoints, from manifests to the proxy: on Backends and Services, with zones and priorities."""

import collections

import pytest

from support.http1 import request
from support.wait import until

from .conftest import backend_ref, gateway, obj, policy, route, rule, static


@pytest.fixture
def world(plane, ports, backend):
    plane.gateway_port = ports.free()
    plane.hosts = [backend(name, host=f"127.0.0.{2 + n}", port=None) for n, name in enumerate("abc")]
    plane.apply("gateway", gateway(plane.gateway_port))
    return plane


def service(world, zones=None, **spec):
    """A Service `web` of the hosts; each has a port of its own, so each has a slice of its own."""
    objects = [obj("v1", "Service", "web", {"ports": [{"name": "http", "port": 80}], **spec})]
    for n, host in enumerate(world.hosts):
        endpoint = {"addresses": [host.host], "conditions": {"ready": True}}
        if zones and zones[n]:
            endpoint["zone"] = zones[n]
        objects.append({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"web-{n}", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": host.port, "protocol": "TCP"}],
            "endpoints": [endpoint],
        })
    return objects


def to_service():
    return route("web", {"backendRefs": [{"name": "web", "port": 80}]})


def spread(world, count=90):
    return collections.Counter(request(world.gateway_port).json()["backend"] for _ in range(count))


def test_outlier_detection_and_a_budget_on_a_service(world, proxies):
    world.apply("web", *service(world))
    world.apply("route", to_service())
    outlier = {"consecutive5xx": 2, "baseEjectionTime": "60s", "maxEjectionPercent": 50}
    world.apply("policy", policy("p", "Service", "web", group="", outlierDetection=outlier, circuitBreakers={"maxRequests": 50}))
    proxy = proxies(world)
    world.wait_printed("TrafficPolicy default/p on=default/edge Accepted=True Attached=True")
    until(lambda: proxy.metric("agentgateway_upstream_endpoints") == 3, 10, "the policy at the proxy")
    world.hosts[1].stop()
    until(lambda: request(world.gateway_port) and proxy.metric("agentgateway_upstream_endpoints_ejected") == 1, 5, "an ejection")
    assert set(spread(world)) == {"a", "c"}
    # A change of the policy keeps what is known; without it nothing is.
    world.apply("policy", policy("p", "Service", "web", group="", outlierDetection=outlier, circuitBreakers={"maxRequests": 0}))
    until(lambda: request(world.gateway_port).status == 503, 10, "the breaker")
    assert proxy.metric("agentgateway_upstream_endpoints_ejected") == 1
    world.delete("policy")
    until(lambda: request(world.gateway_port).status == 200, 10, "no breaker")


def test_hash_and_health_checks_on_a_backend(world, proxies):
    world.apply("hosts", static("hosts", *[host.address for host in world.hosts]))
    world.apply("route", route("web", rule("hosts")))
    check = {"interval": "200ms", "timeout": "150ms", "unhealthyThreshold": 2, "healthyThreshold": 1, "http": {"path": "/healthz"}}
    balancer = {"maglev": {"hashPolicies": [{"header": {"name": "x-user"}}]}}
    world.apply("policy", policy("p", "Backend", "hosts", "gateway.kgateway.dev", healthCheck=check, loadBalancer=balancer))
    proxy = proxies(world)
    until(lambda: all(any(s["path"] == "/healthz" for s in host.seen) for host in world.hosts), 10, "checks")
    places = {request(world.gateway_port, headers={"x-user": "ada"}).json()["backend"] for _ in range(20)}
    assert len(places) == 1
    [own] = [host for host in world.hosts if host.name in places]
    own.stop()
    until(lambda: proxy.metric("agentgateway_upstream_endpoints_unhealthy") == 1, 5, "it is unhealthy")
    places = {request(world.gateway_port, headers={"x-user": "ada"}).json()["backend"] for _ in range(20)}
    assert len(places) == 1 and own.name not in places


def test_priorities_of_a_backend(world, proxies):
    hosts = static("hosts", *[host.address for host in world.hosts])
    hosts["spec"]["static"]["hosts"][2]["priority"] = 1
    world.apply("hosts", hosts)
    world.apply("route", route("web", rule("hosts")))
    proxies(world)
    until(lambda: spread(world, 1), 10, "the route")
    assert set(spread(world)) == {"a", "b"}


def test_endpoints_in_the_proxys_zone_come_first(world, proxies):
    world.apply("web", *service(world, ["north-a", "north-b", "north-b"], trafficDistribution="PreferClose"))
    world.apply("route", to_service())
    proxy = proxies(world, "--zone", "north-a")
    assert set(spread(world)) == {"a"}
    # When it is gone the others serve.
    world.hosts[0].stop()
    assert set(spread(world)) == {"b", "c"}
    # Without the Service's wish, or in no known zone, all are equal.
    world.hosts[0].start()
    world.apply("web", *service(world, ["north-a", "north-b", "north-b"]))
    until(lambda: "agentgateway_upstream_endpoints{" not in proxy.metrics(), 10, "the change")
    until(lambda: set(spread(world)) == {"a", "b", "c"}, 5, "all of them")


def test_what_has_no_endpoints_says_so(world, proxies):
    world.apply("tools", obj("gateway.kgateway.dev/v1alpha1", "Backend", "tools", {
        "type": "MCP",
        "mcp": {"targets": [{"name": "t", "static": {"host": world.hosts[0].host, "port": world.hosts[0].port}}]},
    }))
    world.apply("route", route("web", {"backendRefs": [backend_ref("tools")]}))
    world.apply("policy", policy("p", "Backend", "tools", "gateway.kgateway.dev", circuitBreakers={"maxRequests": 1}))
    proxies(world)
    world.wait_printed("circuitBreakers is left out: it is for Services and Backends of type Static")


def test_faults_by_a_policy_on_a_route(world, proxies):
    world.apply("hosts", static("hosts", *[host.address for host in world.hosts]))
    world.apply("route", route("web", rule("hosts")))
    world.apply("policy", policy("p", "HTTPRoute", "web", faultInjection={"abort": {"httpStatus": 503}}))
    proxies(world)
    until(lambda: request(world.gateway_port).status == 503, 10, "the fault")
    assert all(host.seen == [] for host in world.hosts)
    world.apply("policy", policy("p", "HTTPRoute", "web", timeouts={"streamIdle": "300ms"}))
    until(lambda: request(world.gateway_port).status == 200, 10, "no fault")
    with pytest.raises(Exception):
        request(world.gateway_port, "/?chunks=2&interval=2")


def test_policies_about_endpoints_are_for_backends(world, proxies):
    world.apply("hosts", static("hosts", *[host.address for host in world.hosts]))
    world.apply("route", route("web", rule("hosts")))
    world.apply("policy", policy("p", "HTTPRoute", "web", circuitBreakers={"maxRequests": 0}))
    proxies(world)
    world.wait_printed("circuitBreakers is left out: it is for Services and Backends of type Static")
    until(lambda: request(world.gateway_port).status == 200, 5, "the route")
