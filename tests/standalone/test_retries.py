"""Retries: what is tried again, how often, when, where, and what a request must be like."""

import os
import time
import uuid

import pytest

from support.http1 import Client
from support.http2 import Http2
from support.proxy import to


@pytest.fixture
def host(backend):
    return backend()


def failing(times, how="status=503", **more):
    extra = "".join(f"&{name}={value}" for name, value in more.items())
    return f"/?first={times}&id={uuid.uuid4()}&{how}{extra}"


def retry(**fields):
    return {"retry": {"backoff": "10ms", **fields}}


def test_a_listed_status_is_tried_again_as_often_as_asked(gateway, host):
    proxy = gateway(to(host, policies=retry(attempts=2, codes=[503])))
    assert proxy.get(failing(2)).status == 200
    assert len(host.seen) == 3
    assert proxy.metric("agentgateway_retries_total") == 2
    assert proxy.get(failing(3)).status == 503, "the last answer is the client's"
    assert len(host.seen) == 6
    assert any('retries' in line for line in proxy.access_lines("503"))


def test_other_statuses_are_not(gateway, host):
    proxy = gateway(to(host, policies=retry(attempts=3, codes=[503])))
    assert proxy.get(failing(1, "status=500")).status == 500
    assert len(host.seen) == 1


@pytest.mark.parametrize("how, status", [("reset=1", 502), ("delay=5", 504)])
def test_lost_connections_and_late_tries_are(gateway, host, how, status):
    proxy = gateway(to(host, policies={**retry(attempts=1), "timeout": {"backendRequestTimeout": "300ms"}}))
    assert proxy.get(failing(1, how)).status == 200
    assert proxy.get(failing(2, how)).status == status


def test_one_attempt_by_default_and_none_with_zero(gateway, host, ports):
    proxy = gateway(
        to(host, policies=retry(attempts=0, codes=[503]), matches=[{"path": {"pathPrefix": "/"}, "headers": [{"name": "x", "exact": "0"}]}]),
        to(host, policies=retry(codes=[503])),
    )
    assert proxy.get(failing(1)).status == 200
    assert proxy.get(failing(2)).status == 503
    count = len(host.seen)
    assert proxy.get(failing(1), headers={"x": "0"}).status == 503
    assert len(host.seen) == count + 1


def test_refused_connections_count(gateway, host, ports):
    dead = f"127.0.0.1:{ports.free()}"
    proxy = gateway(to(dead, policies=retry(attempts=2, backoff="100ms")))
    start = time.monotonic()
    assert proxy.get().status == 503
    # 100 to 200 ms, then 200 to 400 ms.
    assert 0.3 <= time.monotonic() - start < 1.5
    assert proxy.metric("agentgateway_retries_total") == 2


def test_a_retry_draws_the_backend_again_with_its_own_filters(gateway, backend, ports):
    good = backend("good")
    shares = [
        {"host": f"127.0.0.1:{ports.free()}", "policies": {"requestHeaderModifier": {"add": [{"name": "x-way", "value": "dead"}]}}},
        {"host": good.address, "policies": {"requestHeaderModifier": {"add": [{"name": "x-way", "value": "good"}]}}},
    ]
    proxy = gateway(to(*shares, policies=retry(attempts=9, backoff="1ms")))
    for _ in range(20):
        response = proxy.get()
        assert response.status == 200
        headers = [value for name, value in response.json()["headers"] if name == "x-way"]
        assert headers == ["good"], "nothing of the other reference's filters is left"


@pytest.mark.root
def test_a_retry_prefers_another_endpoint(gateway, backend, named):
    first = backend("first", host="127.0.0.2")
    second = backend("second", port=first.port, host="127.0.0.3")
    proxy = gateway(
        to(f"both.test:{first.port}", policies=retry(attempts=1, codes=[503])),
        prefix=named(both=["127.0.0.2", "127.0.0.3"]),
    )
    for _ in range(20):
        assert proxy.get("/?status=503").status == 503
    assert len(first.seen) == len(second.seen) == 20, "each request tried both"


def test_small_bodies_are_sent_again(gateway, host):
    proxy = gateway(to(host, policies=retry(attempts=2, codes=[503])))
    body = os.urandom(60_000)
    assert proxy.get(failing(2), "POST", body=body).status == 200
    assert len({seen["sha256"] for seen in host.seen}) == 1 and host.seen[-1]["length"] == len(body)
    with Http2(proxy.port) as client:
        status, _, _ = client.request(failing(1), "POST", body=b"x" * 10_000)
    assert status == 200 and host.seen[-1]["length"] == 10_000


def test_large_bodies_are_sent_once(gateway, host):
    proxy = gateway(to(host, policies=retry(attempts=2, codes=[503])))
    assert proxy.get(failing(1), "POST", body=os.urandom(200_000)).status == 503
    assert len(host.seen) == 1
    assert proxy.get("/", "POST", body=os.urandom(3_000_000)).json()["length"] == 3_000_000


def test_all_tries_are_within_the_requests_timeout(gateway, host):
    proxy = gateway(to(host, policies={**retry(attempts=9, codes=[503], backoff="200ms"), "timeout": {"requestTimeout": "700ms"}}))
    start = time.monotonic()
    assert proxy.get("/?status=503").status == 504
    assert 0.6 < time.monotonic() - start < 1.5


def test_a_response_that_has_begun_is_not_tried_again(gateway, host):
    proxy = gateway(to(host, policies=retry(attempts=3, codes=[503])))
    with Client(proxy.port) as client:
        response = client.start("/?chunks=2&interval=0.2")
        host.stop()
        with pytest.raises(Exception):
            response.read()
    assert len(host.seen) == 1


def test_failed_tries_leave_their_connection_usable(gateway, host):
    proxy = gateway(to(host, policies=retry(attempts=3, codes=[503])), config={"workers": 1})
    for _ in range(5):
        assert proxy.get(failing(2)).status == 200
    assert host.accepted <= 2


def test_a_pause_that_the_backend_asks_for_is_kept(gateway, host):
    proxy = gateway(
        to(host, policies={**retry(attempts=2, codes=[503]), "timeout": {"requestTimeout": "2500ms"}}, matches=[{"path": {"pathPrefix": "/in-time"}}]),
        to(host, policies=retry(attempts=2, codes=[503])),
    )

    def asking(path, seconds):
        return f"{path}?first=1&id={uuid.uuid4()}&status=503&header=retry-after:{seconds}"

    start = time.monotonic()
    assert proxy.get(asking("/", 1)).status == 200
    assert 1 <= time.monotonic() - start < 2
    # Too long to wait, for the gateway or for the request: the client is told.
    for path, seconds in [("/", 60), ("/in-time", 3)]:
        start = time.monotonic()
        response = proxy.get(asking(path, seconds))
        assert (response.status, response.header("retry-after")) == (503, str(seconds))
        assert time.monotonic() - start < 0.5
