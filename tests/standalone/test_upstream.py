"""The way to the backends: kept connections, failures, retries, and bodies that are streamed."""

import hashlib
import os
import socket
import threading

import pytest

from support.echo import headers_of
from support.http1 import Client, request
from support.proxy import routes, to
from support.wait import until

MEBIBYTE = 1 << 20


def one_worker(gateway, *all_routes, **config):
    """Each worker has connections of its own; with one there is one to look at."""
    return gateway(*all_routes, config={"workers": 1, **config})


def test_connections_are_kept_and_shared_by_clients(gateway, backend):
    host = backend()
    proxy = one_worker(gateway, to(host))
    assert {proxy.get().json()["connection"] for _ in range(10)} == {1}
    assert host.accepted == 1


def test_a_stale_connection_is_replaced_unseen(gateway, backend):
    host = backend()
    proxy = one_worker(gateway, to(host))
    for _ in range(20):
        assert proxy.get().status == 200
        host.close_idle()
        assert proxy.get(method="POST", body=b"x").status == 200
    assert host.accepted >= 20


def test_a_connection_that_the_backend_closes_is_not_used_again(gateway, backend):
    host = backend()
    proxy = one_worker(gateway, to(host))
    response = proxy.get("/?close=1")
    assert response.status == 200 and response.header("connection") is None, "that was for the proxy alone"
    assert proxy.get().json()["connection"] == 2


def test_a_backend_that_restarts(gateway, backend):
    host = backend()
    proxy = gateway(to(host))
    assert proxy.get().status == 200
    host.stop()
    assert proxy.get().status == 503
    host.start()
    assert proxy.get().status == 200


def test_connection_refused_is_503(gateway, ports):
    proxy = gateway(to(f"127.0.0.1:{ports.free()}"))
    response = proxy.get()
    assert response.status == 503 and response.header("content-type").startswith("text/plain")
    assert "127.0.0.1" not in response.text, "clients learn nothing of the network behind"


def test_a_connection_outlives_a_backend_that_refuses(gateway, ports):
    proxy = gateway(to(f"127.0.0.1:{ports.free()}"))
    with Client(proxy.port) as client:
        for _ in range(20):
            assert client.request(method="POST", body=b"x" * 1000).status == 503
    assert proxy.metric("agentgateway_downstream_accepted_total") == 1


def test_reset_is_502_and_not_repeated(gateway, backend):
    """The backend may have done what it was asked before it broke off."""
    host = backend()
    proxy = gateway(to(host))
    assert proxy.get("/?reset=1", method="POST", body=b"x").status == 502
    assert len(host.seen) == 1
    assert "reason=upstream_reset" in proxy.access_lines("status=502")[0]


def test_an_answer_that_is_no_http_is_502(gateway, backend):
    proxy = gateway(to(backend()))
    assert proxy.get("/?garbage=1").status == 502
    assert proxy.get().status == 200


def test_unknown_names_are_503(gateway):
    proxy = gateway(to("absent.invalid:80"))
    assert proxy.get().status == 503
    assert "reason=dns_failure" in proxy.access_lines("status=503")[0]


def test_one_bad_backend_does_not_hurt_the_others(gateway, backend, ports):
    proxy = gateway(
        to(f"127.0.0.1:{ports.free()}", matches=[{"path": {"exact": "/bad"}}]),
        to(backend()),
    )
    for _ in range(5):
        assert proxy.get("/bad").status == 503
        assert proxy.get("/good").status == 200


@pytest.mark.root
def test_another_address_is_tried_when_one_refuses(gateway, backend, ports, named):
    """Nothing was sent yet, so this holds for every method."""
    host = backend("second", host="127.0.0.3")
    proxy = gateway(
        to(f"both.test:{host.port}"),
        prefix=named(both=["127.0.0.2", "127.0.0.3"]),
        config={"workers": 1},
    )
    for _ in range(20):
        response = proxy.get(method="POST", body=b"once")
        assert response.status == 200 and response.json()["length"] == 4
    assert len(host.seen) == 20
    assert proxy.metric("agentgateway_retries_total") > 0


@pytest.mark.root
def test_requests_are_spread_over_the_addresses_of_a_name(gateway, backend, ports, named):
    first = backend("first", host="127.0.0.2")
    second = backend("second", port=first.port, host="127.0.0.3")
    proxy = gateway(to(f"both.test:{first.port}"), prefix=named(both=["127.0.0.2", "127.0.0.3"]))
    for _ in range(100):
        assert proxy.get().status == 200
    assert min(len(first.seen), len(second.seen)) > 20


@pytest.mark.root
def test_a_name_that_leads_to_an_own_port_is_refused(gateway, backend, named):
    proxy = gateway(to(backend()), prefix=named(innocent=["127.0.0.1"]))
    proxy.reload(routes(proxy.port, to(f"innocent.test:{proxy.admin}")))
    response = proxy.get("/config_dump")
    assert response.status == 500 and "binds" not in response.text


def test_large_uploads_are_streamed(gateway, backend):
    """300 MiB through a proxy that grows by less than a tenth of it."""
    host = backend()
    proxy = one_worker(gateway, to(host), accessLog=False)
    proxy.get()
    piece, count = os.urandom(MEBIBYTE), 300
    before, grown = proxy.resident_bytes(), []
    digest = hashlib.sha256()
    with Client(proxy.port, timeout=60) as client:
        connection = client._connection
        connection.putrequest("POST", "/large")
        connection.putheader("content-length", str(count * MEBIBYTE))
        connection.endheaders()
        for number in range(count):
            connection.send(piece)
            digest.update(piece)
            if number % 25 == 24:
                grown.append(proxy.resident_bytes() - before)
        got = __import__("json").loads(connection.getresponse().read())
    assert (got["length"], got["sha256"]) == (count * MEBIBYTE, digest.hexdigest())
    assert max(grown) < 24 * MEBIBYTE, grown


def test_large_downloads_are_streamed_at_the_readers_pace(gateway, backend):
    host = backend()
    proxy = one_worker(gateway, to(host), accessLog=False)
    proxy.get()
    before, grown, total = proxy.resident_bytes(), [], 0
    with Client(proxy.port, timeout=60) as client:
        answer = client.start(f"/?size={300 * MEBIBYTE}")
        # A reader that pauses: what the backend could send meanwhile must wait there, and not in the proxy.
        threading.Event().wait(0.5)
        grown.append(proxy.resident_bytes() - before)
        while piece := answer.read(MEBIBYTE):
            total += len(piece)
            if total % (25 * MEBIBYTE) == 0:
                grown.append(proxy.resident_bytes() - before)
    assert total == 300 * MEBIBYTE
    assert max(grown) < 24 * MEBIBYTE, grown


def test_an_answer_that_breaks_off_breaks_off_for_the_client(gateway, backend):
    """It must not look complete."""
    host = backend()
    proxy = gateway(to(host))
    with Client(proxy.port) as client:
        answer = client.start("/?chunks=0&interval=0.05")
        answer.read(8)
        host.stop()
        with pytest.raises((ConnectionError, __import__("http").client.IncompleteRead)):
            answer.read()


def test_the_host_header_is_the_clients(gateway, backend):
    proxy = gateway(to(backend()))
    assert headers_of(proxy.get(headers=[("host", "shop.test:8080")]).json())["host"] == "shop.test:8080"


def test_a_backend_by_ipv6_address(gateway, ports, loop):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    from support.echo import Backend

    host = Backend(loop, "six", 0, "::1")
    try:
        port = host._server.sockets[0].getsockname()[1]
        assert gateway(to(f"[::1]:{port}")).get().json()["backend"] == "six"
    finally:
        host.stop()


def test_many_clients_at_once(gateway, backend):
    """More than one connection to a backend is opened when requests overlap."""
    host = backend()
    proxy = gateway(to(host))
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(request(proxy.port, "/?delay=0.3").status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    until(lambda: len(host.seen) == 30, what="all requests at the backend at once")
    for thread in threads:
        thread.join()
    assert statuses == [200] * 30
