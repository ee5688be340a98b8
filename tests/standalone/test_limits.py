"""Concurrency limits, sizes of requests, limits of a port."""

import socket
import threading
import time

import pytest

from support.http1 import Client, Raw, request
from support.proxy import document, to
from support.wait import until


class Held:
    """A request whose response the backend holds back."""

    def __init__(self, proxy, seconds=3, path="/", headers=()):
        self.status = None
        self._thread = threading.Thread(target=self._run, args=(proxy, f"{path}?delay={seconds}", headers), daemon=True)
        self._thread.start()

    def _run(self, proxy, path, headers):
        self.status = request(proxy.port, path, headers=headers).status

    def join(self):
        self._thread.join(20)
        return self.status


@pytest.mark.parametrize("level", ["listener", "route", "backend"])
def test_concurrency_is_bounded_and_places_become_free(gateway, backend, level):
    host, policies = backend(), {"concurrencyLimit": {"maxRequests": 2}}
    proxy = {
        "listener": lambda: gateway(to(host), policies=policies),
        "route": lambda: gateway(to(host, policies=policies)),
        "backend": lambda: gateway(to({"host": host.address, "policies": policies})),
    }[level]()
    held = [Held(proxy), Held(proxy)]
    until(lambda: len(host.seen) == 2, 5, "two requests")
    refused = proxy.get()
    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert [h.join() for h in held] == [200, 200]
    assert proxy.get().status == 200
    assert proxy.metric("agentgateway_limited_requests_total", limit="concurrency") == 1
    assert proxy.access_lines("concurrency_limit")


def test_concurrency_by_key_with_another_status(gateway, backend):
    host = backend()
    limit = {"maxRequests": 1, "key": ["request.headers['x-user']"], "statusCode": 429, "retryAfterSeconds": 7}
    proxy = gateway(to(host, policies={"concurrencyLimit": limit}))
    held = Held(proxy, headers={"x-user": "ada"})
    until(lambda: len(host.seen) == 1, 5, "the request")
    refused = proxy.get(headers={"x-user": "ada"})
    assert (refused.status, refused.header("retry-after")) == (429, "7")
    assert proxy.get(headers={"x-user": "bob"}).status == 200
    assert held.join() == 200
    assert proxy.get(headers={"x-user": "ada"}).status == 200


def test_concurrency_counts_until_the_last_byte_and_frees_the_place_of_a_client_that_is_gone(gateway, backend):
    proxy = gateway(to(backend(), policies={"concurrencyLimit": {"maxRequests": 1}}))
    with Client(proxy.port) as client:
        response = client.start("/?chunks=0&interval=0.05")
        assert response.status == 200 and response.read(1)
        assert proxy.get().status == 503, "the response is still being sent"
    until(lambda: proxy.get().status == 200, 5, "the place of the client that is gone")


def test_concurrency_holds_over_retries(gateway, backend):
    host = backend()
    policies = {"concurrencyLimit": {"maxRequests": 1}, "retry": {"attempts": 3, "codes": [503], "backoff": "10ms"}}
    proxy = gateway(to(host, policies=policies))
    assert proxy.get("/?status=503&first=2&id=a").status == 200
    held = Held(proxy)
    until(lambda: len(host.seen) == 4, 5, "the request")
    assert proxy.get().status == 503
    assert held.join() == 200


def test_bodies_that_say_their_length_are_refused_unread(gateway, backend):
    host = backend()
    proxy = gateway(to(host, policies={"requestLimits": {"maxBodyBytes": 1000}}))
    assert proxy.get(method="POST", body=b"x" * 1000).status == 200
    assert proxy.get(method="POST", body=b"x" * 1001).status == 413
    assert len(host.seen) == 1
    with Client(proxy.port) as client:
        assert client.request(method="POST", body=b"x" * 2000).status == 413
        assert client.request().status == 200, "the connection stays usable"


@pytest.mark.parametrize("policies", [{}, {"retry": {"attempts": 2, "codes": [503]}}, {"timeout": {"requestTimeout": "10s"}}], ids=["plain", "retry", "timeout"])
def test_bodies_that_are_streamed_break_off(gateway, backend, policies):
    host = backend()
    proxy = gateway(to(host, policies={"requestLimits": {"maxBodyBytes": 100_000}, **policies}))

    def post(pieces):
        with Raw(proxy.port) as raw:
            raw.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(pieces):
                raw.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            raw.send(b"0\r\n\r\n")
            return raw.read_head()[0]

    assert post(10) == 200
    assert post(11) == 413
    assert post(200) == 413
    assert len(host.seen) == 1
    assert proxy.access_lines("request_limits: the request's body is too large", 2)


def test_headers_are_counted_and_measured(gateway, backend):
    host = backend()
    proxy = gateway(to(host, policies={"requestLimits": {"maxHeaders": 20, "maxHeaderBytes": 1000}}))
    assert proxy.get(headers={f"x-{i}": "1" for i in range(10)}).status == 200
    assert proxy.get(headers={f"x-{i}": "1" for i in range(25)}).status == 431
    assert proxy.get(headers={"x-long": "1" * 990}).status == 431
    assert len(host.seen) == 1


def port_with(start, ports, host, limits, **bind):
    return start(document([{"port": ports.free(), "limits": limits, "listeners": [{"routes": [to(host)]}], **bind}]))


def is_open(client: socket.socket) -> bool:
    client.settimeout(0.3)
    try:
        return client.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_connections_are_bounded_over_all_workers(start, ports, backend):
    proxy = port_with(start, ports, backend(), {"maxConnections": 5})
    clients = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(8)]
    assert sum(map(is_open, clients)) == 5
    assert proxy.metric("agentgateway_downstream_refused_total") == 3
    for client in clients:
        client.close()

    def served():
        try:
            return proxy.get().status == 200
        except OSError:
            return False

    until(served, 5, "places of connections that are gone")


def test_connections_are_bounded_by_client(start, ports, backend):
    proxy = port_with(start, ports, backend(), {"maxConnectionsPerClient": 2})
    of_one = [socket.create_connection(("127.0.0.1", proxy.port), source_address=("127.0.0.1", 0)) for _ in range(4)]
    assert sum(map(is_open, of_one)) == 2
    other = socket.create_connection(("127.0.0.1", proxy.port), source_address=("127.0.0.2", 0))
    assert is_open(other)
    for client in [*of_one, other]:
        client.close()


def test_connections_behind_a_balancer_count_against_the_client_that_it_names(start, ports, backend):
    proxy = port_with(start, ports, backend(), {"maxConnectionsPerClient": 1}, proxyProtocol="required")
    clients = []
    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        clients.append(socket.create_connection(("127.0.0.1", proxy.port)))
        clients[-1].sendall(f"PROXY TCP4 {address} 10.0.0.9 1000 80\r\n".encode())
        time.sleep(0.1)
    assert list(map(is_open, clients)) == [True, False, True]
    for client in clients:
        client.close()


def test_requests_are_shed_beyond_the_bound_of_the_port(start, ports, backend):
    host = backend()
    proxy = port_with(start, ports, host, {"maxRequests": 2})
    held = [Held(proxy), Held(proxy)]
    until(lambda: len(host.seen) == 2, 5, "two requests")
    shed = proxy.get()
    assert (shed.status, shed.header("retry-after"), shed.text) == (503, "1", "the gateway is overloaded\n")
    assert [h.join() for h in held] == [200, 200]
    assert proxy.get().status == 200
    assert proxy.metric("agentgateway_limited_requests_total", limit="overload") == 1
    assert proxy.access_lines("overload: too many requests")


def test_requests_are_shed_while_a_worker_is_late(start, ports, backend):
    """The proxy is stopped for a while: its workers come late to their tasks, and know it."""
    proxy = port_with(start, ports, backend(), {"maxLag": "50ms"})
    assert proxy.get().status == 200
    with Client(proxy.port) as client:
        assert client.request().status == 200

        def shed_after_a_stop():
            proxy.signal(19)
            time.sleep(0.5)
            proxy.signal(18)
            # The worker looks at its lag as soon as it runs again; what comes after it, and before it looks again, is shed.
            time.sleep(0.03)
            return client.request().status == 503

        until(shed_after_a_stop, 20, "a request to be shed")
        until(lambda: client.request().status == 200, 5, "an end of the shedding")


def test_limits_of_a_port_are_checked(start, ports):
    for limits, field in [({"maxConnections": 0}, "maxConnections"), ({"maxLag": "1ms"}, "maxLag")]:
        proxy = start(document([{"port": ports.free(), "limits": limits, "listeners": []}]), ready=False)
        assert proxy.wait() != 0
        assert f"limits.{field}" in "\n".join(proxy.err)
    proxy = start(document([{"port": ports.free(), "limits": {"maxConnections": 1}, "listeners": [{"protocol": "UDP"}]}]), ready=False)
    assert proxy.wait() != 0 and "UDP has none" in "\n".join(proxy.err)
