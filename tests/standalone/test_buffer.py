"""Bodies of requests that are read whole."""

import hashlib
import time

import pytest

from support.http1 import Client, Raw
from support.proxy import to


@pytest.fixture
def host(backend):
    return backend()


@pytest.mark.parametrize("level", ["route", "listener"])
def test_larger_bodies_are_refused(gateway, host, level):
    policies = {"buffer": {"maxRequestSize": "1Ki"}}
    proxy = gateway(to(host, policies=policies)) if level == "route" else gateway(to(host), policies=policies)
    with Client(proxy.port) as client:
        for body in (b"", b"x" * 1024):
            assert client.request("/", "POST", body=body).status == 200
        assert host.seen[-1]["sha256"] == hashlib.sha256(b"x" * 1024).hexdigest()
        response = client.request("/", "POST", body=b"x" * 1025)
        assert (response.status, response.text) == (413, "the body is too large")
        # The connection goes on.
        assert client.request("/", "POST", body=b"x").status == 200
    assert any("buffer" in line for line in proxy.access_lines("413"))


def test_the_backend_gets_a_body_when_it_is_whole(gateway, host):
    proxy = gateway(to(host, policies={"buffer": {"maxRequestSize": 100}}))
    with Raw(proxy.port) as raw:
        raw.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        time.sleep(0.3)
        assert host.seen == [] and host.accepted == 0
        raw.send("6\r\n world\r\n0\r\n\r\n")
        assert raw.read_response().status == 200
    (seen,) = host.seen
    headers = dict(seen["headers"])
    assert seen["sha256"] == hashlib.sha256(b"hello world").hexdigest()
    assert headers["content-length"] == "11" and "transfer-encoding" not in headers
    # One that does not say how long it is is refused as soon as it is too long.
    with Raw(proxy.port) as raw:
        raw.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n65\r\n" + "x" * 101 + "\r\n")
        assert raw.read_response().status == 413


def test_trailers_stay(gateway, host):
    proxy = gateway(to(host, policies={"buffer": {"maxRequestSize": "1Mi"}}))
    with Raw(proxy.port) as raw:
        raw.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")
        assert raw.read_response().status == 200
    assert host.seen[-1]["trailers"] == [["x-sum", "1"]]
