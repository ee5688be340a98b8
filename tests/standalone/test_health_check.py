"""Active health checks: HTTP, gRPC and TCP, thresholds, and how often they are made."""

import time
from concurrent import futures

import grpc
import pytest

from support.proxy import routes, to
from support.wait import until

FAST = {"interval": "200ms", "timeout": "150ms", "unhealthyThreshold": 2, "healthyThreshold": 2}


def shares(hosts, check, **policies):
    static = {"hosts": [{"host": h.host, "port": h.port} for h in hosts]}
    return {"static": static, "policies": {"healthCheck": {**FAST, **check}, **policies}}


def unhealthy(proxy) -> float:
    return proxy.metric("agentgateway_upstream_endpoints_unhealthy")


@pytest.fixture
def hosts(backend):
    return [backend(name) for name in ("a", "b", "c")]


def checks(host):
    return [seen for seen in host.seen if seen["path"] == "/healthz"]


def test_an_unhealthy_endpoint_gets_no_requests_and_comes_back(gateway, hosts):
    proxy = gateway(to(shares(hosts, {"http": {"path": "/healthz", "host": "check.example"}})))
    until(lambda: all(checks(host) for host in hosts), 3, "checks without a request")
    headers = dict(checks(hosts[0])[0]["headers"])
    assert headers["host"] == "check.example" and headers["user-agent"] == "agentgateway-health-check"
    assert unhealthy(proxy) == 0
    hosts[0].stop()
    until(lambda: unhealthy(proxy) == 1, 3, "it is found unhealthy")
    for _ in range(60):
        assert proxy.get().status == 200
    assert proxy.metric("agentgateway_retries_total") == 0, "no request tried it"
    hosts[0].start()
    until(lambda: unhealthy(proxy) == 0, 3, "it is back")
    before = len([s for s in hosts[0].seen if s["path"] == "/"])
    for _ in range(60):
        assert proxy.get().status == 200
    assert len([s for s in hosts[0].seen if s["path"] == "/"]) > before


def test_a_status_that_is_not_good_is_bad(gateway, hosts):
    proxy = gateway(to(shares(hosts[:2], {"http": {"path": "/healthz?status=500"}})))
    until(lambda: unhealthy(proxy) == 2, 3, "both are unhealthy")
    assert proxy.get().status == 200, "when all are, all get requests"


def test_a_late_answer_is_bad(gateway, hosts):
    proxy = gateway(to(shares(hosts[:1], {"http": {"path": "/healthz?delay=1"}})))
    until(lambda: unhealthy(proxy) == 1, 3, "it is late")


def test_a_connection_is_enough_for_tcp(gateway, hosts):
    proxy = gateway(to(shares(hosts[:2], {"tcp": {}})))
    until(lambda: hosts[0].accepted > 1, 3, "checks")
    hosts[1].stop()
    until(lambda: unhealthy(proxy) == 1, 3, "it refuses connections")
    assert hosts[0].seen == []


def test_checks_are_made_once_per_process_and_end_with_the_backend(gateway, hosts):
    proxy = gateway(to(shares(hosts[:1], {"http": {"path": "/healthz"}})), config={"workers": 4})
    until(lambda: checks(hosts[0]), 3, "the first check")
    before = len(checks(hosts[0]))
    time.sleep(2)
    made = len(checks(hosts[0])) - before
    assert 7 <= made <= 11, made
    # A change of something else neither stops nor doubles them.
    proxy.reload(routes(proxy.port, to(shares(hosts[:1], {"http": {"path": "/healthz"}}, loadBalancer={"random": {}}))))
    before = len(checks(hosts[0]))
    time.sleep(1)
    assert 3 <= len(checks(hosts[0])) - before <= 6
    proxy.reload(routes(proxy.port, to(hosts[0])))
    time.sleep(0.3)
    before = len(checks(hosts[0]))
    time.sleep(1)
    assert len(checks(hosts[0])) == before


class Health:
    """grpc.health.v1.Health with one status for each service, as bytes of its message."""

    host = "127.0.0.1"

    def __init__(self, port: int):
        self.port, self.serving, self.asked = port, True, []
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        handlers = {"Check": grpc.unary_unary_rpc_method_handler(self._check)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
        assert self._server.add_insecure_port(f"127.0.0.1:{port}") == port
        self._server.start()

    def _check(self, message, context):
        self.asked.append(message)
        if message not in (b"", b"\n\x09shop.Cart"):
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return b"\x08\x01" if self.serving else b"\x08\x02"

    def close(self):
        self._server.stop(None)


@pytest.fixture
def health(ports):
    server = Health(ports.free())
    yield server
    server.close()


def test_grpc_health(gateway, health):
    static = shares([health], {"grpc": {"serviceName": "shop.Cart"}})
    static["static"]["appProtocol"] = "grpc"
    proxy = gateway(to(static))
    until(lambda: len(health.asked) > 1, 3, "checks")
    assert health.asked[0] == b"\n\x09shop.Cart" and unhealthy(proxy) == 0
    health.serving = False
    until(lambda: unhealthy(proxy) == 1, 3, "it does not serve")
    health.serving = True
    until(lambda: unhealthy(proxy) == 0, 3, "it serves again")


def test_grpc_health_of_an_unknown_service(gateway, health):
    static = shares([health], {"grpc": {"serviceName": "shop.Other"}})
    static["static"]["appProtocol"] = "grpc"
    proxy = gateway(to(static))
    until(lambda: unhealthy(proxy) == 1, 3, "the service is unknown")
