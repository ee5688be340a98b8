"""Rate limits that all proxies share: in Redis, and by Envoy's rate limit service; both are the real ones."""

import socket
import time

import pytest

from support.counters import RateLimitService, Redis
from support.load import crowd
from support.proxy import routes, to
from support.wait import until

BY_USER = {"maxTokens": 5, "fillInterval": "1h", "key": ["request.headers['x-user']"]}


@pytest.fixture
def redis(tmp_path, ports):
    made = []

    def make(*arguments, port=None, **options):
        made.append(Redis(tmp_path, port or ports.free(), *arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def in_redis(server, *buckets, timeout="5s", **more):
    limit = {"redis": {"host": server.address, "buckets": list(buckets), **more.pop("redis", {})}, "timeout": timeout, **more}
    return {"rateLimit": {"global": limit}}


def passed(proxy, tries=8, **headers):
    return [proxy.get(headers={f"x-{k}": v for k, v in headers.items()}).status for _ in range(tries)].count(200)


def test_redis_holds_one_limit_for_two_proxies(gateway, backend, redis):
    host, server = backend(), redis()
    one, other = (gateway(to(host, policies=in_redis(server, BY_USER))) for _ in range(2))
    assert (passed(one, 3, user="ada"), passed(other, 8, user="ada"), passed(one, 8, user="ada")) == (3, 2, 0)
    assert passed(other, 8, user="bob") == 5
    refused = one.get(headers={"x-user": "ada"})
    assert (refused.status, refused.header("x-ratelimit-limit"), refused.header("x-ratelimit-remaining")) == (429, "5", "0")
    assert 3500 < int(refused.header("retry-after")) <= 3600
    assert one.metric("agentgateway_limited_requests_total", limit="global_rate") == 9
    keys = server.cli("keys", "*").splitlines()
    assert len(keys) == 2 and not any("ada" in key for key in keys), "what clients send is not readable"
    assert all(0 < int(server.cli("pttl", key)) <= 5 * 3600 * 1000 for key in keys)


def test_redis_is_exact_over_all_workers_of_two_proxies(gateway, backend, redis):
    host, server = backend(), redis()
    both = [gateway(to(host, policies=in_redis(server, {"maxTokens": 300, "fillInterval": "1h"}))) for _ in range(2)]
    found = [crowd(proxy.port, 10, connections=32) for proxy in both]
    assert sum(f[200] for f in found) == 300 and sum(f[429] for f in found) == 340
    assert len(host.seen) == 300


def test_redis_buckets_fill_and_expire(gateway, backend, redis):
    server = redis()
    proxy = gateway(to(backend(), policies=in_redis(server, {"maxTokens": 2, "tokensPerFill": 1, "fillInterval": "500ms"})))
    assert passed(proxy, 2) == 2
    until(lambda: proxy.get().status == 200, 5, "a token", interval=0.05)
    until(lambda: server.cli("keys", "*") == "", 5, "the key to expire")


def test_redis_takes_from_all_buckets_or_from_none_and_tells_what_is_left(gateway, backend, redis):
    server = redis()
    buckets = [{"maxTokens": 9, "fillInterval": "1h"}, {**BY_USER, "cost": "int(request.headers['x-cost'])"}]
    proxy = gateway(to(backend(), policies=in_redis(server, *buckets, xRateLimitHeaders="DraftVersion03")))
    first = proxy.get(headers={"x-user": "ada", "x-cost": "4"})
    assert (first.status, first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")) == (200, "5, 1;w=3600", "1")
    assert passed(proxy, 5, user="ada", cost="2") == 0
    assert passed(proxy, 20, user="bob", cost="0") == 8, "refusals took nothing"


def test_redis_with_password_user_and_database(gateway, backend, redis, tmp_path):
    server = redis("--requirepass", "s3cret-word")
    secret = tmp_path / "password"
    secret.write_text("s3cret-word\n")
    login = {"username": "default", "password": {"file": str(secret)}, "database": 3}
    proxy = gateway(to(backend(), policies=in_redis(server, BY_USER, redis=login)))
    assert passed(proxy, user="ada") == 5
    assert server.cli("-n", "3", "dbsize") == "1"
    everything = str(proxy.dump()) + "\n".join(proxy.err + proxy.out) + server.cli("info", "clients")
    assert "s3cret-word" not in everything
    wrong = {**login, "password": {"inline": "wrong"}}
    refused = gateway(to(backend("other"), policies=in_redis(server, BY_USER, redis=wrong)))
    assert refused.get().status == 503
    assert "s3cret-word" not in str(refused.access_lines("rate_limit_error: .*WRONGPASS"))


def test_redis_with_tls(gateway, backend, redis, authority):
    files = authority.issue("s.example").files
    server = redis(tls=(files["cert"], files["key"], authority.file))
    trusted = {"tls": {"hostname": "s.example", "root": str(authority.file)}}
    proxy = gateway(to(backend(), policies=in_redis(server, BY_USER, redis=trusted)))
    assert passed(proxy, user="ada") == 5
    other = {"tls": {"hostname": "other.example", "root": str(authority.file)}}
    assert gateway(to(backend("b"), policies=in_redis(server, BY_USER, redis=other))).get().status == 503


@pytest.mark.parametrize("fail_open", [None, False, True])
def test_redis_away_refuses_unless_told_and_comes_back(gateway, backend, redis, ports, fail_open):
    server = redis(port=ports.free())
    more = {} if fail_open is None else {"failOpen": fail_open}
    proxy = gateway(to(backend(), policies=in_redis(server, BY_USER, **more)))
    assert passed(proxy, 6, user="ada") == 5
    server.close()
    away = proxy.get(headers={"x-user": "ada"})
    assert away.status == (200 if fail_open else 503)
    assert proxy.metric("agentgateway_rate_limit_unavailable_total") >= 1
    # It knows neither keys nor the script any more.
    redis(port=server.port)
    until(lambda: proxy.get(headers={"x-user": "bob"}).header("x-ratelimit-limit") == "5", 10, "the limit to hold again")


def test_redis_that_is_silent_costs_the_timeout_and_no_more(gateway, backend):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        proxy = gateway(to(backend(), policies={"rateLimit": {"global": {"redis": {"host": host, "buckets": [BY_USER]}}}}))
        begin = time.monotonic()
        assert proxy.get().status == 503
        assert 0.09 < time.monotonic() - begin < 2, "100 ms by default"


def test_a_redis_cluster_is_refused_and_named(gateway, backend, redis):
    server = redis("--cluster-enabled", "yes")
    proxy = gateway(to(backend(), policies=in_redis(server, BY_USER)))
    assert proxy.get(headers={"x-user": "ada"}).status == 503
    assert any("Redis Cluster, which is not supported" in line for line in proxy.access_lines("rate_limit_error"))


def test_redis_limit_after_a_reload_is_the_same(gateway, backend, redis):
    route = to(backend(), policies=in_redis(redis(), BY_USER))
    proxy = gateway(route)
    assert passed(proxy, 6, user="ada") == 5
    proxy.reload(routes(proxy.port, route, to(backend("b"), matches=[{"path": {"exact": "/new"}}])))
    assert passed(proxy, 3, user="ada") == 0


SHOP = """
domain: shop
descriptors:
- key: x-user
  rate_limit: {unit: hour, requests_per_unit: 5}
- key: plan
  value: free
  descriptors:
  - key: path
    value: /search
    rate_limit: {unit: hour, requests_per_unit: 3}
- key: remote_address
  descriptors:
  - key: method
    value: PUT
    rate_limit: {unit: hour, requests_per_unit: 2}
"""


@pytest.fixture
def service(tmp_path, ports, redis):
    service = RateLimitService(tmp_path, ports, redis(), SHOP)
    yield service
    service.close()


def by_envoy(service, *descriptors, timeout="5s", **more):
    envoy = {"host": service.address, "domain": "shop", "descriptors": list(descriptors)}
    return {"rateLimit": {"global": {"envoy": envoy, "timeout": timeout, **more}}}


USER = {"entries": [{"type": "Header", "header": "X-User"}]}


def test_envoy_service_holds_one_limit_for_two_proxies(gateway, backend, service):
    host = backend()
    one, other = (gateway(to(host, policies=by_envoy(service, USER))) for _ in range(2))
    assert (passed(one, 3, user="ada"), passed(other, 8, user="ada"), passed(one, 8, user="ada")) == (3, 2, 0)
    assert passed(one, 8, user="bob") == 5
    assert passed(one, 8) == 8, "a descriptor without a value is not asked about"
    refused = one.get(headers={"x-user": "ada"})
    assert (refused.status, refused.header("x-ratelimit-limit"), refused.header("x-ratelimit-remaining")) == (429, "5", "0")
    assert 0 < int(refused.header("retry-after")) <= 3600


def test_envoy_descriptors_of_all_kinds(gateway, backend, service):
    search = {"entries": [{"type": "Generic", "generic": {"key": "plan", "value": "free"}}, {"type": "Path"}]}
    puts = {"entries": [{"type": "RemoteAddress"}, {"type": "CEL", "cel": {"key": "method", "expression": "request.method"}}]}
    proxy = gateway(to(backend(), policies=by_envoy(service, search, puts)))
    assert [proxy.get("/search?q=1").status for _ in range(5)].count(200) == 3
    assert [proxy.get("/other").status for _ in range(5)].count(200) == 5
    assert [proxy.get("/other", method="PUT").status for _ in range(5)].count(200) == 2


def test_envoy_costs_and_headers(gateway, backend, service):
    costly = {**USER, "cost": "int(request.headers['x-cost'])"}
    proxy = gateway(to(backend(), policies=by_envoy(service, costly, xRateLimitHeaders="DraftVersion03")))
    first = proxy.get(headers={"x-user": "eve", "x-cost": "4"})
    assert (first.status, first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")) == (200, "5, 5;w=3600", "1")
    assert proxy.get(headers={"x-user": "eve", "x-cost": "2"}).status == 429
    assert proxy.get(headers={"x-user": "eve", "x-cost": "x"}).status == 429


@pytest.mark.parametrize("fail_open", [False, True])
def test_envoy_service_away_refuses_unless_told(gateway, backend, service, fail_open):
    proxy = gateway(to(backend(), policies=by_envoy(service, USER, failOpen=fail_open)))
    assert passed(proxy, 6, user="ada") == 5
    service.close()
    assert proxy.get(headers={"x-user": "zoe"}).status == (200 if fail_open else 503)
    assert proxy.metric("agentgateway_rate_limit_unavailable_total") >= 1


def test_wrong_global_limits_are_refused(gateway, backend):
    both = {"redis": {"host": "a:1", "buckets": [BY_USER]}, "envoy": {"host": "a:1", "domain": "d", "descriptors": [USER]}}
    keys = {"redis": {"host": "a:1", "buckets": [{**BY_USER, "maxKeys": 5}]}}
    header = {"envoy": {"host": "a:1", "domain": "d", "descriptors": [{"entries": [{"type": "Header"}]}]}}
    for limit, field in [
        (both, "rateLimit.global"),
        (keys, "rateLimit.global.redis.buckets[0].maxKeys"),
        (header, "rateLimit.global.envoy.descriptors[0].entries[0].type"),
    ]:
        proxy = gateway(to(backend(f"b{field}"), policies={"rateLimit": {"global": limit}}), ready=False)
        assert proxy.wait() != 0
        assert field in "\n".join(proxy.err)
