"""What backends learn of the client: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host."""

import pytest

from support.echo import headers_of
from support.http1 import Client, request
from support.http2 import Http2
from support.proxy import to


@pytest.fixture
def host(backend):
    return backend()


def test_address_and_scheme_of_the_client(gateway, host):
    proxy = gateway(to(host))
    headers = headers_of(proxy.get().json())
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
    with Http2(proxy.port) as client:
        client.request()
    assert headers_of(host.seen[-1])["x-forwarded-for"] == "127.0.0.1"


def test_what_the_request_claims(gateway, host):
    proxy = gateway(to(host))
    claims = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2"), ("x-forwarded-proto", "https")]
    with Client(proxy.port) as client:
        for _ in range(2):
            headers = headers_of(client.request(headers=claims).json())
            assert headers["x-forwarded-for"] == "192.0.2.1, 192.0.2.2, 127.0.0.1", "the address goes to the end"
            assert headers["x-forwarded-proto"] == "http", "the connection's own"


def test_filters_may_take_it_away(gateway, host):
    policies = {"requestHeaderModifier": {"remove": ["x-forwarded-for"], "set": [{"name": "x-forwarded-proto", "value": "https"}]}}
    headers = headers_of(gateway(to(host, policies=policies)).get().json())
    assert "x-forwarded-for" not in headers and headers["x-forwarded-proto"] == "https"


def test_a_rewritten_host_is_told(gateway, host):
    proxy = gateway(to(host, policies={"urlRewrite": {"hostname": "inside.test"}}))
    for forged in ({}, {"x-forwarded-host": "evil.test"}):
        headers = headers_of(request(proxy.port, headers={"host": "shop.test:81", **forged}).json())
        assert (headers["host"], headers["x-forwarded-host"]) == ("inside.test", "shop.test:81")
