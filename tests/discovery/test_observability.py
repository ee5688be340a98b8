"""Access logs, traces and labels of metrics by TrafficPolicy, from manifests to a collector."""

import pytest

from support.collector import Collector
from support.http1 import request
from support.wait import until

from .conftest import policy, static
from .test_policies import becomes, on_route, world  # noqa: F401


@pytest.fixture
def collector(tmp_path, ports):
    running = Collector(tmp_path, ports)
    yield running
    running.close()


def telemetry(name="collector"):
    return {"openTelemetry": {"grpcService": {"backendRef": {"group": "gateway.kgateway.dev", "kind": "Backend", "name": name}}}}


def test_a_gateways_logs_a_routes_traces_and_labels(world, proxies, collector):
    backend = static("collector", collector.grpc)
    backend["spec"]["static"]["appProtocol"] = "grpc"
    world.apply("backend", backend)
    log = {"format": "Json", "add": {"agent": "request.headers['user-agent']"}, "sink": telemetry()}
    world.apply("gateway-policy", policy("logs", "Gateway", "edge", accessLog=[log]))
    labels = {"labels": [{"name": "agent", "value": "request.headers['user-agent']"}]}
    world.apply("route-policy", on_route(tracing=telemetry(), metrics=labels))
    proxy = proxies(world)
    becomes(world, 200)
    request(world.gateway_port, "/seen", headers={"user-agent": "test/1"})
    [record] = collector.logs(path="/seen")
    assert record["attributes"]["agent"] == "test/1"
    [span] = collector.spans(**{"url.path": "/seen"})
    assert span["traceId"] == record["traceId"] and span["spanId"] == record["spanId"]
    until(lambda: proxy.metric("agentgateway_labelled_requests_total", agent="test/1") == 1, 10, "the label")


def test_what_cannot_be_applied_is_left_out_and_said(world, proxies):
    world.apply("policy", on_route(tracing=telemetry("missing"), metrics={"labels": [{"name": "x", "value": "nothing.here"}]}))
    proxies(world)
    world.wait_printed("tracing is left out: .*missing")
    world.wait_printed("metrics is left out: .*nothing")
    becomes(world, 200)
