"""Limits by TrafficPolicy, GatewayExtension and GatewayParameters, from manifests to the proxy."""

import pytest

from support.counters import RateLimitService, Redis
from support.http1 import request

from .conftest import static
from .test_policies import OWN, becomes, on_route, secret, status, world  # noqa: F401

# The proxies get no generation from before the policy.
ACCEPTED = r"TrafficPolicy default/\S+ on=\S+ Accepted=True"
SHOP = """
domain: shop
descriptors:
- key: x-user
  rate_limit: {unit: hour, requests_per_unit: 4}
"""


@pytest.fixture
def redis(tmp_path, ports):
    server = Redis(tmp_path, ports.free(), "--requirepass", "s3cret-word")
    yield server
    server.close()


def extension(name, **rate_limit):
    return {
        "apiVersion": OWN,
        "kind": "GatewayExtension",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "RateLimit", "rateLimit": {"timeout": "5s", **rate_limit}},
    }


def passed(world, tries=8, **headers):
    return [status(world, headers={f"x-{k}": v for k, v in headers.items()}) for _ in range(tries)].count(200)


def test_buckets_by_key_concurrency_and_sizes(world, proxies):
    buckets = [{"maxTokens": 3, "fillInterval": "1h", "key": ["request.headers['x-user']"]}]
    limits = {
        "rateLimit": {"local": {"buckets": buckets, "xRateLimitHeaders": "DraftVersion03"}},
        "concurrencyLimit": {"maxRequests": 100},
        "requestLimits": {"maxBodyBytes": 10},
    }
    world.apply("policy", on_route(**limits))
    world.wait_printed(ACCEPTED)
    proxies(world)
    becomes(world, 200)
    assert (passed(world, user="ada"), passed(world, user="bob")) == (3, 3)
    assert request(world.gateway_port, headers={"x-user": "eve"}).header("x-ratelimit-remaining") == "2"
    assert request(world.gateway_port, method="POST", headers={"x-user": "zoe"}, body=b"x" * 11).status == 413


def test_a_limit_in_redis_with_a_password_of_a_secret_for_two_proxies(world, proxies, redis):
    world.apply("backend", static("redis", redis.address))
    world.apply("secret", secret("redis", password="s3cret-word"))
    service = {"backendRef": {"group": "gateway.kgateway.dev", "kind": "Backend", "name": "redis"}}
    world.apply("extension", extension("redis", redis={**service, "password": {"secretRef": {"name": "redis"}}}))
    bucket = {"maxTokens": 5, "fillInterval": "1h", "key": ["request.headers['x-user']"]}
    world.apply("policy", on_route(rateLimit={"global": {"extensionRef": {"name": "redis"}, "buckets": [bucket]}}))
    world.wait_printed(ACCEPTED)
    proxies(world)
    becomes(world, 200)
    assert passed(world, user="ada") == 5
    # A policy that asks Redis about descriptors cannot be applied.
    descriptors = [{"entries": [{"type": "Path"}]}]
    world.apply("policy", on_route(rateLimit={"global": {"extensionRef": {"name": "redis"}, "descriptors": descriptors}}))
    becomes(world, 403)


def test_a_limit_by_envoys_service(world, proxies, ports, tmp_path):
    (tmp_path / "plain").mkdir()
    plain = Redis(tmp_path / "plain", ports.free())
    service = RateLimitService(tmp_path, ports, plain, SHOP)
    try:
        backend = static("limits", service.address)
        backend["spec"]["static"]["appProtocol"] = "grpc"
        world.apply("backend", backend)
        grpc = {"backendRef": {"group": "gateway.kgateway.dev", "kind": "Backend", "name": "limits"}}
        world.apply("extension", extension("limits", grpcService=grpc, domain="shop"))
        descriptors = [{"entries": [{"type": "Header", "header": "x-user"}]}]
        world.apply("policy", on_route(rateLimit={"global": {"extensionRef": {"name": "limits"}, "descriptors": descriptors}}))
        world.wait_printed(ACCEPTED)
        proxies(world)
        becomes(world, 200)
        assert (passed(world, user="ada"), passed(world, user="bob")) == (4, 4)
    finally:
        service.close()
        plain.close()
