"""Local rate limits."""

import time

import pytest

from support.http1 import Client
from support.load import crowd
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


@pytest.mark.parametrize("key", [{}, {"key": ["request.headers['x-user']"]}], ids=["one bucket", "by key"])
def test_exactly_as_many_as_allowed_pass_over_64_connections_and_all_workers(gateway, backend, key):
    host = backend()
    proxy = gateway(to(host, policies={"localRateLimit": [{"maxTokens": 500, "fillInterval": "1h", **key}]}), config={"workers": 4})
    assert crowd(proxy.port, 20, headers={"x-user": "ada"}) == {200: 500, 429: 64 * 20 - 500}
    assert len(host.seen) == 500
    assert proxy.metric("agentgateway_limited_requests_total", limit="local_rate") == 64 * 20 - 500


def test_every_key_has_its_own_bucket(gateway, backend):
    proxy = gateway(to(backend(), policies={"localRateLimit": [{**SLOW, "key": ["request.headers['x-user']", "request.method"]}]}))

    def passed(method="GET", **headers):
        return [proxy.get(method=method, headers={f"x-{k}": v for k, v in headers.items()}).status for _ in range(5)].count(200)

    assert (passed(user="ada"), passed(user="bob"), passed("POST", user="ada")) == (3, 3, 3)
    assert passed(user="ada") == 0
    # Who leaves the header out shares one bucket, and gets no other one by another header.
    assert (passed(), passed(other="1")) == (3, 0)


def test_keys_are_bounded_in_memory(gateway, backend):
    bucket = {"maxTokens": 1, "fillInterval": "1h", "key": ["request.path"], "maxKeys": 100}
    proxy = gateway(to(backend(), policies={"localRateLimit": [bucket]}))
    with Client(proxy.port) as client:
        assert all(client.request(f"/{i}").status == 200 for i in range(1000))
        assert client.request("/999").status == 429
    assert proxy.metric("agentgateway_rate_limit_forgotten_keys_total") == 900


def test_a_request_takes_from_all_buckets_or_from_none(gateway, backend):
    limits = [{"maxTokens": 3, "fillInterval": "1h"}, {"maxTokens": 1, "fillInterval": "1h", "key": ["request.path"]}]
    proxy = gateway(to(backend(), policies={"localRateLimit": limits}))
    assert spend(proxy, "/a") == [200, 429, 429, 429, 429]
    assert spend(proxy, "/b") == [200, 429, 429, 429, 429]
    assert spend(proxy, "/c") == [200, 429, 429, 429, 429], "refusals took nothing from the first bucket"
    assert spend(proxy, "/d") == [429] * 5


def test_requests_cost_what_the_expression_says_and_responses_tell_what_is_left(gateway, backend):
    bucket = {"maxTokens": 10, "tokensPerFill": 5, "fillInterval": "1h", "cost": "int(request.headers['x-cost'])"}
    limit = {"local": {"tokenBucket": bucket, "xRateLimitHeaders": "DraftVersion03"}}
    proxy = gateway(to(backend(), policies={"rateLimit": limit}))
    first = proxy.get(headers={"x-cost": "7"})
    assert first.status == 200
    assert (first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")) == ("10, 5;w=3600", "3")
    assert 3500 < int(first.header("x-ratelimit-reset")) <= 3600
    refused = proxy.get(headers={"x-cost": "9"})
    assert (refused.status, refused.header("x-ratelimit-remaining")) == (429, "3")
    assert 2 * 3600 - 60 < int(refused.header("retry-after")) <= 2 * 3600, "it takes two fills"
    assert proxy.get(headers={"x-cost": "3"}).status == 200
    assert proxy.get(headers={"x-cost": "much"}).status == 429
    assert proxy.get().status == 429


def test_wrong_expressions_are_refused(gateway, backend):
    proxy = gateway(to(backend(), policies={"localRateLimit": [{**SLOW, "key": ["requst.path"]}]}), ready=False)
    assert proxy.wait() != 0
    assert "requst" in "\n".join(proxy.err)
