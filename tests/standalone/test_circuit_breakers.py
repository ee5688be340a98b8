"""Circuit breakers and the retry budget: what is over a bound is refused, and nothing else is."""

import concurrent.futures
import socket
import time

import pytest

from support.http1 import Raw
from support.proxy import to
from support.wait import until


@pytest.fixture
def host(backend):
    return backend()


def share(host, **policies):
    return {"host": host if isinstance(host, str) else host.address, "policies": policies}


def at_once(proxy, count, path="/?delay=0.6"):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [response.status for response in pool.map(lambda _: proxy.get(path), range(count))]


def refused(proxy, of) -> float:
    return proxy.metric("agentgateway_upstream_refused_total", of=of)


def test_requests_in_flight_are_bounded_and_the_breaker_closes_again(gateway, host):
    proxy = gateway(to(share(host, circuitBreakers={"maxRequests": 3})))
    statuses = at_once(proxy, 10)
    assert (statuses.count(200), statuses.count(503)) == (3, 7)
    assert len(host.seen) == 3
    assert refused(proxy, "requests") == 7
    assert len(proxy.access_lines("reason=circuit_open", 7)) == 7
    assert at_once(proxy, 3) == [200, 200, 200]
    assert proxy.metric("agentgateway_upstream_in_use", of="requests") == 0


def test_a_breaker_says_no_at_once_and_is_not_retried(gateway, host):
    proxy = gateway(to(share(host, circuitBreakers={"maxRequests": 0}), policies={"retry": {"attempts": 3, "backoff": "1s"}}))
    start = time.monotonic()
    assert proxy.get().status == 503
    assert time.monotonic() - start < 0.5
    assert host.seen == []


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_are_bounded_over_all_workers(gateway, host, workers):
    breakers = {"maxConnections": 2}
    proxy = gateway(to(share(host, circuitBreakers=breakers)), config={"workers": workers})
    statuses = at_once(proxy, 12, "/?delay=0.1")
    assert statuses == [200] * 12, "requests wait for a connection"
    assert host.open_connections() <= 2
    # An idle connection of one worker is given up for another.
    for _ in range(20):
        assert proxy.get().status == 200


def test_waiting_requests_are_bounded(gateway, host):
    breakers = {"maxConnections": 1, "maxPendingRequests": 2}
    proxy = gateway(to(share(host, circuitBreakers=breakers)))
    statuses = at_once(proxy, 8, "/?delay=0.5")
    assert statuses.count(200) == 3 and statuses.count(503) == 5
    assert refused(proxy, "pending_requests") == 5


def test_a_retry_budget_holds_in_an_outage(gateway, host):
    """Without a budget each request would be tried four times."""
    constraint = {"budget": {"percent": 20, "interval": "10s"}, "minRetryRate": {"count": 0}}
    retry = {"attempts": 3, "backoff": "1ms", "codes": [503]}
    proxy = gateway(to(share(host, retryConstraint=constraint), policies={"retry": retry}))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = {r.status for r in pool.map(lambda _: proxy.get("/?status=503"), range(500))}
    assert statuses == {503}
    tries = len(host.seen)
    assert 560 <= tries <= 600, tries
    assert proxy.metric("agentgateway_retries_total") == tries - 500
    assert refused(proxy, "retries") > 300


def test_a_least_rate_is_allowed_beside_the_budget(gateway, host):
    constraint = {"budget": {"percent": 0}, "minRetryRate": {"count": 5, "interval": "60s"}}
    retry = {"attempts": 3, "backoff": "1ms", "codes": [503]}
    proxy = gateway(to(share(host, retryConstraint=constraint), policies={"retry": retry}))
    for _ in range(20):
        assert proxy.get("/?status=503").status == 503
    assert len(host.seen) == 25


def test_retries_at_one_time_are_bounded(gateway, host):
    retry = {"attempts": 1, "backoff": "1ms", "codes": [503]}
    proxy = gateway(to(share(host, circuitBreakers={"maxRetries": 2}), policies={"retry": retry}))
    assert set(at_once(proxy, 8, "/?status=503&delay=0.4")) == {503}
    assert len(host.seen) == 10


def test_connect_timeout(gateway):
    # An address of TEST-NET-1 (RFC 5737): nobody answers.
    proxy = gateway(to(share("192.0.2.1:80", connection={"connectTimeout": "200ms"}), policies={"retry": {"attempts": 0}}))
    start = time.monotonic()
    assert proxy.get().status == 503
    assert time.monotonic() - start < 1.5


def test_names_of_headers_as_old_servers_want_them(gateway):
    for options, expected in ((None, b"x-some-name: 1"), ({"headerFormat": "ProperCaseHeaderKeyFormat"}, b"X-Some-Name: 1")):
        listener = socket.create_server(("127.0.0.1", 0))
        policies = {"connection": {"http1ProtocolOptions": options}} if options else {}
        proxy = gateway(to(share(f"127.0.0.1:{listener.getsockname()[1]}", **policies)))
        with Raw(proxy.port) as client:
            client.send("GET / HTTP/1.1\r\nhost: a\r\nX-SOME-name: 1\r\n\r\n")
            connection, _ = listener.accept()
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1000)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert client.read_response().status == 204
        assert expected in head, head
        connection.close()
        listener.close()


def test_idle_connections_are_kept_as_long_as_told(gateway, host):
    proxy = gateway(to(share(host, connection={"idleTimeout": "0s"})), config={"workers": 1})
    for _ in range(5):
        assert proxy.get().status == 200
    assert host.accepted == 5
    until(lambda: host.open_connections() == 0, 2, "none is kept")
