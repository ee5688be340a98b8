"""Traces: spans of requests, of tries and of services that policies ask; contexts that come and go; what is sampled."""

import pytest

from support.envoy import EnvoyServices
from support.authz import GrpcAuthz
from support.collector import Collector
from support.echo import headers_of
from support.proxy import to

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


@pytest.fixture
def host(backend):
    return backend()


@pytest.fixture
def collector(tmp_path, ports):
    running = Collector(tmp_path, ports)
    yield running
    running.close()


def tracing(collector, protocol="grpc", **fields):
    return {"tracing": {"openTelemetry": {f"{protocol}Service": {"host": getattr(collector, protocol)}}, **fields}}


def named(spans, name):
    return [span for span in spans if span["name"].startswith(name)]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_trace_goes_on_through_the_gateway(gateway, host, collector, protocol):
    attributes = {"user.agent": "request.headers['user-agent']", "absent": "jwt.sub"}
    proxy = gateway(to(host, policies=tracing(collector, protocol, attributes=attributes)))
    response = proxy.get("/a?b=secret", headers={"traceparent": SAMPLED, "tracestate": "v=1", "user-agent": "test/1"})
    sent = headers_of(response.json())
    [own] = collector.spans(**{"url.path": "/a"})
    [upstream] = [span for span in collector.spans(2) if span["name"] == "upstream request"]
    assert own["traceId"] == upstream["traceId"] == TRACE
    assert (own["parentSpanId"], upstream["parentSpanId"]) == (SPAN, own["spanId"])
    assert (sent["traceparent"], sent["tracestate"]) == (f"00-{TRACE}-{upstream['spanId']}-01", "v=1")
    assert own["kind"] == 2 and upstream["kind"] == 3 and own["traceState"] == "v=1"
    about = own["attributes"]
    assert (about["http.request.method"], about["http.response.status_code"], about["user.agent"]) == ("GET", 200, "test/1")
    assert "absent" not in about and "secret" not in str(own)
    assert upstream["attributes"]["server.port"] == int(host.address.rsplit(":", 1)[1])
    assert int(own["startTimeUnixNano"]) <= int(upstream["startTimeUnixNano"]) < int(upstream["endTimeUnixNano"]) <= int(own["endTimeUnixNano"]) + 1_000_000
    assert own["resource"]["service.name"] == "agentgateway"


def test_each_try_and_each_service_that_policies_ask_has_a_span(gateway, host, collector, ports):
    authz = GrpcAuthz(ports.free())
    retry = {"attempts": 1, "codes": [503], "backoff": "10ms"}
    policies = {**tracing(collector), "retry": retry, "extAuthz": {"host": authz.address}}
    try:
        proxy = gateway(to(host, policies=policies))
        answer = proxy.get("/try?status=503&first=1&id=t", headers={"x-token": "good", "traceparent": SAMPLED})
    finally:
        authz.close()
    assert answer.status == 200
    spans = collector.spans(4)
    tries = named(spans, "upstream")
    assert sorted(span["attributes"]["http.response.status_code"] for span in tries) == [200, 503]
    assert len({span["spanId"] for span in spans}) == 4 and len(named(spans, "ext_authz")) == 1
    [own] = named(spans, "GET")
    assert own["attributes"]["retries"] == 1
    failed = [span for span in tries if span.get("status", {}).get("code") == 2]
    assert [span["attributes"]["http.response.status_code"] for span in failed] == [503]


def test_a_processor_has_spans_both_ways(gateway, host, collector, ports):
    processor = EnvoyServices(ports)
    try:
        proxy = gateway(to(host, policies={**tracing(collector), "extProc": {"host": processor.address, "messageTimeout": "10s"}}))
        assert proxy.get("/processed", headers={"traceparent": SAMPLED}).status == 200
    finally:
        processor.close()
    spans = collector.spans(4)
    [own] = named(spans, "GET")
    both = named(spans, "ext_proc")
    assert sorted(span["name"] for span in both) == ["ext_proc", "ext_proc response"]
    assert all(span["parentSpanId"] == own["spanId"] for span in both)


def test_what_is_not_sampled_is_passed_on_as_such(gateway, host, collector):
    proxy = gateway(
        to(host, matches=[{"path": {"pathPrefix": "/none"}}], policies=tracing(collector, randomSampling=0)),
        to(host, matches=[{"path": {"pathPrefix": "/anew"}}], policies=tracing(collector, incomingContext="Restart")),
        to(host, matches=[{"path": {"pathPrefix": "/filter"}}], policies=tracing(collector, filter="request.headers['x-trace'] == '1'")),
        to(host, policies=tracing(collector)),
    )
    parent = lambda path, **headers: headers_of(proxy.get(path, headers=headers).json())["traceparent"]
    assert parent("/none").endswith("-00")
    assert parent("/none", traceparent=SAMPLED).startswith(f"00-{TRACE}-")
    unsampled = parent("/all", traceparent=UNSAMPLED)
    assert unsampled.startswith(f"00-{TRACE}-") and unsampled.endswith("-00") and SPAN not in unsampled
    assert parent("/all", traceparent="garbage").endswith("-01")
    assert parent("/filter").endswith("-00") and parent("/filter", **{"x-trace": "1"}).endswith("-01")
    anew = parent("/anew", traceparent=UNSAMPLED)
    assert TRACE not in anew and anew.endswith("-01")
    [own] = collector.spans(**{"url.path": "/anew"})
    assert own["links"][0]["traceId"] == TRACE and not own.get("parentSpanId")
    [own] = collector.spans(**{"url.path": "/none"})
    assert own["parentSpanId"] == SPAN


def test_failures_are_errors(gateway, ports, collector):
    proxy = gateway(to(f"127.0.0.1:{ports.free()}", policies=tracing(collector)))
    assert proxy.get("/away").status == 503
    [own] = collector.spans(**{"url.path": "/away"})
    assert own["status"]["code"] == 2 and own["attributes"]["error.type"] == "connect_failure"
    [upstream] = named(collector.spans(2), "upstream")
    assert upstream["status"]["code"] == 2 and upstream["attributes"]["error.type"] == "connect_failure"


def test_over_tls(gateway, host, tmp_path, ports, authority):
    own = authority.issue("collector.example")
    collector = Collector(tmp_path, ports, tls=(own.cert, own.key))
    try:
        tls = {"hostname": "collector.example", "root": str(authority.file)}
        service = {"grpcService": {"host": collector.grpc, "tls": tls}}
        proxy = gateway(to(host, policies={"tracing": {"openTelemetry": service}}))
        assert proxy.get("/tls").status == 200
        collector.spans(**{"url.path": "/tls"})
    finally:
        collector.close()


def test_the_last_spans_are_sent_before_the_end(gateway, host, collector):
    proxy = gateway(to(host, policies=tracing(collector)))
    assert [proxy.get(f"/{n}").status for n in range(5)] == [200] * 5
    proxy.terminate()
    assert proxy.wait() == 0
    collector.spans(10)
