"""Keys that an issuer publishes: fetched, kept, changed; and where tokens are, and what they must claim."""

import json
import time

import pytest

from support.echo import headers_of
from support.jwks_server import JwksServer
from support.proxy import to
from support.tokens import AUDIENCE, ISSUER, Key, bearer
from support.wait import until


@pytest.fixture(scope="module")
def key():
    return Key("ES256")


@pytest.fixture
def host(backend):
    return backend()


@pytest.fixture
def issuer(ports):
    servers = []

    def make(*keys, context=None):
        servers.append(JwksServer(ports.free(), *keys, context=context))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def jwt(**fields):
    return {"jwtAuth": {"issuer": ISSUER, "audiences": [AUDIENCE], **fields}}


def test_keys_of_a_url(gateway, host, issuer, key):
    server = issuer(key)
    proxy = gateway(to(host, policies=jwt(jwks={"url": server.url})))
    # A request that comes before the keys waits for them.
    assert proxy.get(headers=bearer(key.token())).status == 200
    assert proxy.get(headers=bearer(Key("ES256", key.kid).token())).status == 401
    assert proxy.get().status == 401
    assert server.asked == 1, "they are kept"


def test_an_unknown_key_is_asked_for_once(gateway, host, issuer, key):
    server = issuer(key)
    proxy = gateway(to(host, policies=jwt(jwks={"url": server.url})))
    assert proxy.get(headers=bearer(key.token())).status == 200
    fresh = Key("ES256", "fresh")
    server.keys = [fresh]
    # Not within seconds of the last fetch, whatever is sent.
    for number in range(20):
        assert proxy.get(headers=bearer(Key("ES256", f"made-up-{number}").token())).status == 401
    assert server.asked == 1
    # A reload keeps the keys that are there.
    seen = len(proxy.err)
    proxy.write(proxy.config.read_text() + "\n")
    proxy.signal(1)
    proxy.wait_for("configuration loaded", since=seen)
    assert proxy.get(headers=bearer(key.token())).status == 200
    assert server.asked == 1


def test_keys_are_fetched_again_in_time_and_the_last_good_ones_kept(gateway, host, issuer, key):
    server = issuer(key)
    proxy = gateway(to(host, policies=jwt(jwks={"url": server.url, "refreshInterval": "10s"})))
    assert proxy.get(headers=bearer(key.token())).status == 200
    server.status = 500
    until(lambda: server.asked >= 2, timeout=15, what="the second fetch")
    assert proxy.get(headers=bearer(key.token())).status == 200, "the issuer is away"
    fresh = Key("ES256", "fresh")
    server.keys, server.status = [fresh], 200
    until(lambda: proxy.get(headers=bearer(fresh.token())).status == 200, timeout=15, what="the new key")
    assert proxy.get(headers=bearer(key.token())).status == 401, "a key that was withdrawn verifies nothing"


def test_without_keys_nobody_passes(gateway, host, issuer, key, ports):
    server = issuer(key)
    server.status = 404
    for jwks in ({"url": server.url}, {"url": f"http://127.0.0.1:{ports.free()}/"}):
        proxy = gateway(to(host, policies=jwt(jwks=jwks)))
        start = time.monotonic()
        assert proxy.get(headers=bearer(key.token())).status == 503
        assert time.monotonic() - start < 5
        assert proxy.get().status == 401
    assert host.seen == []


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"keys": []}', b"x" * (300 << 10), json.dumps({"keys": [{"kty": "oct", "k": "AA"}]}).encode()])
def test_what_are_no_keys_is_not_used(gateway, host, issuer, key, body):
    server = issuer(key)
    server.body = body
    proxy = gateway(to(host, policies=jwt(jwks={"url": server.url})))
    assert proxy.get(headers=bearer(key.token())).status == 503
    proxy.wait_for("keys cannot be fetched")


def test_redirects_are_not_followed_and_own_ports_not_asked(gateway, host, issuer, key):
    server = issuer(key)
    server.status = 302
    proxy = gateway(to(host, policies=jwt(jwks={"url": server.url})))
    assert proxy.get(headers=bearer(key.token())).status == 503
    seen = len(proxy.err)
    proxy.write(proxy.config.read_text().replace(f"localhost:{server.port}", f"127.0.0.1:{proxy.admin}"))
    proxy.wait_for("it is a port of the gateway itself", since=seen)


def test_keys_over_tls(gateway, host, issuer, key, authority, tmp_path):
    certificate = authority.issue("localhost")
    server = issuer(key, context=authority.server(certificate))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    trusting = gateway(to(host, policies=jwt(jwks={"url": server.url, "caFile": str(ca)})))
    assert trusting.get(headers=bearer(key.token())).status == 200
    # The authorities of the machine do not know this one.
    wary = gateway(to(host, policies=jwt(jwks={"url": server.url})))
    assert wary.get(headers=bearer(key.token())).status == 503
    wary.wait_for("keys cannot be fetched")


def test_required_claims_and_clock_skew(gateway, host, key):
    claims = [{"name": "scope", "values": ["tools", "admin"]}, {"name": "realm_access.roles", "values": ["agent"]}, {"name": "email"}]
    policies = jwt(jwks={"inline": json.dumps(key.jwks)}, requiredClaims=claims, clockSkew="0s")
    proxy = gateway(to(host, policies=policies))
    good = {"scope": "read tools", "realm_access": {"roles": ["x", "agent"]}, "email": "a@b"}
    assert proxy.get(headers=bearer(key.token(**good))).status == 200
    for wrong in ({"scope": "read"}, {"scope": None}, {"realm_access": {"roles": []}}, {"realm_access": "agent"}, {"email": None}):
        assert proxy.get(headers=bearer(key.token(**{**good, **wrong}))).status == 401, wrong
    now = time.time()
    assert proxy.get(headers=bearer(key.token(**good, exp=now - 1))).status == 401
    assert proxy.get(headers=bearer(key.token(**good, nbf=now + 2))).status == 401


def test_tokens_in_other_places(gateway, host, key):
    locations = [{"header": {"name": "x-token"}}, {"queryParameter": {"name": "access_token"}}, {"cookie": {"name": "session"}}]
    policies = jwt(jwks={"inline": json.dumps(key.jwks)}, locations=locations)
    proxy = gateway(to(host, policies=policies))
    token = key.token()
    for path, headers in (("/a", {"x-token": token}), (f"/a?access_token={token}&b=1", {}), ("/a", {"cookie": f"session={token}"})):
        response = proxy.get(path, headers=headers)
        assert response.status == 200
        assert token not in json.dumps(host.seen[-1]), "it goes no further"
    assert proxy.get("/a", headers=bearer(token)).status == 401
    assert token not in "\n".join(proxy.out + proxy.err)


def test_a_token_and_a_key_beside_each_other(gateway, host, key):
    """Both optional, and a rule that asks for one of them."""
    policies = jwt(jwks={"inline": json.dumps(key.jwks)}, mode="optional")
    policies["apiKey"] = {"mode": "optional", "locations": [{"header": {"name": "x-api-key"}}], "keys": [{"key": "sk-0123456789"}]}
    policies["authorization"] = {"rules": [{"allow": "has(jwt.sub)"}, {"allow": "has(apiKey.name)"}]}
    policies["backendAuth"] = {"passthrough": {}}
    proxy = gateway(to(host, policies=policies))
    assert proxy.get().status == 403
    assert proxy.get(headers=bearer(key.token())).status == 200
    assert proxy.get(headers={"x-api-key": "sk-0123456789"}).status == 200
    both = proxy.get(headers=[*bearer(key.token()), ("x-api-key", "sk-0123456789")])
    assert {"authorization", "x-api-key"} <= set(headers_of(both.json())), "passthrough puts both back"
