"""Mirrors: copies with their bodies, by share, and never at the expense of the request."""

import os
import time

import pytest

from support.echo import headers_of
from support.http1 import Client
from support.proxy import to
from support.wait import until


def mirror(backend, **fields):
    return {"backend": {"host": getattr(backend, "address", backend)}, **fields}


@pytest.fixture
def main(backend):
    return backend("main")


def test_each_mirror_gets_the_request_with_its_body_and_filters(gateway, main, backend):
    copies = [backend("one"), backend("two")]
    policies = {
        "requestMirrors": [mirror(copy) for copy in copies],
        "requestHeaderModifier": {"set": [{"name": "x-set", "value": "1"}], "remove": ["x-gone"]},
        "urlRewrite": {"path": {"prefix": "/new"}, "hostname": "rewritten.test"},
    }
    proxy = gateway(to(main, policies=policies, matches=[{"path": {"pathPrefix": "/old"}}]))
    body = os.urandom(200_000)
    response = proxy.get("/old/x?y=1", "POST", headers={"x-gone": "1"}, body=body)
    assert response.status == 200 and response.json()["backend"] == "main"
    for copy in copies:
        seen = until(lambda copy=copy: copy.seen, what="the mirror's copy")[0]
        assert (seen["method"], seen["target"]) == ("POST", "/new/x?y=1")
        assert seen["sha256"] == main.seen[0]["sha256"] and seen["length"] == len(body)
        headers = headers_of(seen)
        assert headers["x-set"] == "1" and "x-gone" not in headers and headers["host"] == "rewritten.test"
    until(lambda: proxy.metric("agentgateway_mirrored_total") == 2)
    assert proxy.metric("agentgateway_mirror_failures_total") == 0


def test_a_mirror_at_a_reference_gets_its_share_alone(gateway, main, backend):
    other, copy = backend("other"), backend("copy")
    shares = [{"host": main.address, "policies": {"requestMirror": mirror(copy)}}, {"host": other.address}]
    proxy = gateway(to(*shares))
    for n in range(40):
        proxy.get(f"/{n}")
    until(lambda: len(copy.seen) == len(main.seen))
    assert {r["path"] for r in copy.seen} == {r["path"] for r in main.seen} and other.seen


@pytest.mark.parametrize("share, of_all", [({"percent": 20}, 0.2), ({"fraction": {"numerator": 1, "denominator": 2}}, 0.5)])
def test_a_share_is_mirrored(gateway, main, backend, share, of_all):
    copy, count = backend("copy"), 1000
    proxy = gateway(to(main, policies={"requestMirror": mirror(copy, **share)}))
    with Client(proxy.port) as client:
        for _ in range(count):
            client.request()
    time.sleep(0.3)
    # Five standard deviations: a wrong share fails, chance does in one of a million runs.
    margin = 5 * (count * of_all * (1 - of_all)) ** 0.5
    assert abs(len(copy.seen) - count * of_all) < margin, len(copy.seen)


def test_none_is_mirrored_with_zero(gateway, main, backend):
    copy = backend("copy")
    proxy = gateway(to(main, policies={"requestMirror": mirror(copy, percent=0)}))
    for _ in range(20):
        assert proxy.get().status == 200
    assert not copy.seen


@pytest.mark.parametrize("how", ["reset=1", "status=500", "garbage=1", "delay=30"])
def test_what_a_mirror_answers_does_not_matter(gateway, main, backend, how):
    copy = backend("copy")
    proxy = gateway(to(main, policies={"requestMirror": mirror(copy)}))
    start = time.monotonic()
    main.obeys = False
    response = proxy.get(f"/?{how}")
    assert response.status == 200 and time.monotonic() - start < 2
    until(lambda: copy.seen)


def test_a_mirror_that_is_away_does_not_matter(gateway, main, ports):
    proxy = gateway(to(main, policies={"requestMirror": mirror(f"127.0.0.1:{ports.free()}")}))
    assert [proxy.get(method="POST", body=b"x" * 100_000).status for _ in range(5)] == [200] * 5
    until(lambda: proxy.metric("agentgateway_mirror_failures_total") == 5)


def test_a_mirror_that_does_not_read_slows_nothing_and_costs_no_memory(gateway, main, ports):
    """An upload of 100 MiB beside a mirror that takes the connection and reads nothing."""
    import socket

    silent = socket.create_server(("127.0.0.1", ports.free()))
    proxy = gateway(to(main, policies={"requestMirror": mirror(f"127.0.0.1:{silent.getsockname()[1]}")}), config={"workers": 1})
    proxy.get()
    before, start = proxy.resident_bytes(), time.monotonic()
    response = proxy.get(method="POST", body=bytes(100 << 20))
    assert response.status == 200 and response.json()["length"] == 100 << 20
    assert proxy.resident_bytes() - before < 20 << 20
    assert time.monotonic() - start < 20
    until(lambda: proxy.metric("agentgateway_mirror_failures_total") >= 1)
    silent.close()


def test_a_mirror_does_not_stand_in_for_the_backend(gateway, backend, ports):
    copy = backend("copy")
    proxy = gateway(to(f"127.0.0.1:{ports.free()}", policies={"requestMirror": mirror(copy)}))
    assert proxy.get().status == 503
    until(lambda: copy.seen)


def test_retries_are_mirrored_once(gateway, main, backend):
    copy = backend("copy")
    policies = {"requestMirror": mirror(copy), "retry": {"attempts": 2, "codes": [503], "backoff": "1ms"}}
    proxy = gateway(to(main, policies=policies))
    response = proxy.get("/?first=2&id=a&status=503", "POST", body=b"body")
    assert response.status == 200 and len(main.seen) == 3
    until(lambda: copy.seen)
    time.sleep(0.2)
    assert len(copy.seen) == 1 and copy.seen[0]["length"] == 4
