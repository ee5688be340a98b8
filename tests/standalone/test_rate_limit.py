"""Local rate limits."""

import time

import pytest

from support.proxy import routes, to
from support.wait import until

SLOW = {"maxTokens": 3, "fillInterval": "1h"}


def spend(proxy, path="/"):
    return [proxy.get(path).status for _ in range(5)]


@pytest.mark.parametrize("level", ["route", "listener"])
@pytest.mark.parametrize("spelling", [{"localRateLimit": [SLOW]}, {"rateLimit": {"local": {"tokenBucket": SLOW}}}], ids=["list", "TrafficPolicy"])
def test_requests_beyond_the_bucket_get_429(gateway, backend, level, spelling):
    host = backend()
    proxy = gateway(to(host, policies=spelling)) if level == "route" else gateway(to(host), policies=spelling)
    assert spend(proxy) == [200, 200, 200, 429, 429]
    refused = proxy.get()
    assert 3500 < int(refused.header("retry-after")) <= 3600
    assert refused.header("x-ratelimit-limit") == "3"
    assert refused.header("x-ratelimit-remaining") == "0"
    assert 3500 < int(refused.header("x-ratelimit-reset")) <= 3600
    assert len(host.seen) == 3


def test_the_bucket_fills(gateway, backend):
    bucket = {"maxTokens": 2, "tokensPerFill": 1, "fillInterval": "500ms"}
    proxy = gateway(to(backend(), policies={"localRateLimit": [bucket]}))
    begin = time.monotonic()
    while proxy.get().status == 200:
        pass
    assert proxy.get().header("retry-after") == "1"
    until(lambda: proxy.get().status == 200, timeout=5, what="a token", interval=0.05)
    assert time.monotonic() - begin < 3


def test_a_request_needs_a_token_of_each_limit(gateway, backend):
    limits = [{"maxTokens": 100, "fillInterval": "1h"}, {"maxTokens": 2, "fillInterval": "1h"}]
    proxy = gateway(to(backend(), policies={"localRateLimit": limits}))
    assert spend(proxy) == [200, 200, 429, 429, 429]


def test_one_bucket_for_all_workers(gateway, backend):
    """Every request comes on a connection of its own, so they fall on both workers."""
    proxy = gateway(to(backend(), policies={"localRateLimit": [{"maxTokens": 20, "fillInterval": "1h"}]}))
    assert [proxy.get().status for _ in range(40)].count(200) == 20


def test_each_route_has_a_bucket_of_its_own(gateway, backend):
    host, policies = backend(), {"localRateLimit": [SLOW]}
    proxy = gateway(
        to(host, matches=[{"path": {"pathPrefix": "/a"}}], policies=policies),
        to(host, matches=[{"path": {"pathPrefix": "/b"}}], policies=policies),
    )
    assert spend(proxy, "/a") == [200, 200, 200, 429, 429]
    assert spend(proxy, "/b") == [200, 200, 200, 429, 429]


def test_a_reload_fills_no_bucket(gateway, backend):
    host = backend()
    route = to(host, policies={"localRateLimit": [SLOW]})
    proxy = gateway(route)
    assert spend(proxy)[-1] == 429
    proxy.reload(routes(proxy.port, route, to(host, matches=[{"path": {"exact": "/new"}}])))
    assert proxy.get("/new").status == 200
    assert proxy.get().status == 429


def test_wrong_limits_are_refused(gateway, backend):
    proxy = gateway(to(backend(), policies={"localRateLimit": [{"maxTokens": 0, "fillInterval": "1s"}]}), ready=False)
    assert proxy.wait() != 0
    assert "localRateLimit[0].maxTokens" in "\n".join(proxy.err)
