"""API keys: where they are found, who has them, and what becomes of them."""

import hashlib
import json

import pytest

from support.echo import headers_of
from support.proxy import routes, to

KEY, OTHER = "sk-team-a-0123456789", "sk-team-b-0123456789"


def key_hash(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def host(backend):
    return backend()


@pytest.fixture
def secured(gateway, host):
    def make(policies=None, level="route", **fields):
        keys = [{"name": "team-a", "keyHash": key_hash(KEY), "metadata": {"tier": "gold", "seats": 3}}, {"name": "team-b", "key": OTHER}]
        policies = {"apiKey": {"keys": keys, **fields}, **(policies or {})}
        return gateway(to(host, policies=policies)) if level == "route" else gateway(to(host), policies=policies)

    return make


@pytest.mark.parametrize("level", ["route", "listener"])
def test_strict_by_default(secured, host, level):
    proxy = secured(level=level)
    refused = proxy.get()
    assert (refused.status, refused.header("www-authenticate")) == (401, "Bearer")
    for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}, {"X-API-Key": OTHER}):
        response = proxy.get(headers=headers)
        assert response.status == 200
        sent = headers_of(response.json())
        assert "authorization" not in sent and "x-api-key" not in sent, "the key goes no further"
    for wrong in (KEY[:-1], KEY + "0", KEY.upper(), "", key_hash(KEY), "x" * 20000):
        assert proxy.get(headers={"x-api-key": wrong}).status in (401, 431), wrong
    assert proxy.get(headers=[("x-api-key", KEY), ("x-api-key", KEY)]).status == 401
    assert len(host.seen) == 3
    assert any("api_key" in line for line in proxy.access_lines("401"))


def test_optional_and_permissive(secured):
    optional = secured(mode="optional")
    assert optional.get().status == 200
    assert optional.get(headers={"x-api-key": "sk-unknown-0000"}).status == 401
    permissive = secured(mode="permissive", policies={"authorization": {"rules": [{"deny": "apiKey.name == 'team-a'"}]}})
    assert permissive.get(headers={"x-api-key": KEY}).status == 403


def test_rules_see_whose_key_it_is(secured):
    rules = [{"allow": "apiKey.name == 'team-a' && apiKey.metadata.tier == 'gold' && apiKey.metadata.seats > 2"}]
    proxy = secured(policies={"authorization": {"rules": rules}})
    assert proxy.get(headers={"x-api-key": KEY}).status == 200
    assert proxy.get(headers={"x-api-key": OTHER}).status == 403


def test_keys_in_the_query_and_in_cookies(secured, host):
    locations = [{"queryParameter": {"name": "key"}}, {"cookie": {"name": "key"}}, {"header": {"name": "authorization", "prefix": "Token "}}]
    proxy = secured(locations=locations)
    assert proxy.get(f"/a?x=1&key={KEY}&y=2").status == 200
    assert proxy.get("/a", headers={"cookie": f"a=1; key={KEY}; b=2"}).status == 200
    assert proxy.get("/a", headers={"authorization": f"token {KEY}"}).status == 200
    first, second, third = host.seen
    assert first["target"] == "/a?x=1&y=2"
    assert dict(second["headers"])["cookie"] == "a=1; b=2"
    assert "authorization" not in dict(third["headers"])
    assert proxy.get(f"/a?key={KEY}&%6bey={KEY}").status == 401, "one key, in one place"
    assert proxy.get("/a", headers={"x-api-key": KEY}).status == 401, "the usual places do not count beside others"
    assert KEY not in "\n".join(proxy.out + proxy.err)


def test_passthrough_puts_the_key_back(secured, host):
    proxy = secured(policies={"backendAuth": {"passthrough": {}}})
    assert headers_of(proxy.get(headers={"x-api-key": KEY}).json())["x-api-key"] == KEY


def test_keys_from_files_and_the_environment(gateway, host, tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    keys = [{"file": str(file)}, {"name": "environment", "key": "${TEAM_KEY}"}]
    proxy = gateway(to(host, policies={"apiKey": {"keys": keys}}), env={"TEAM_KEY": OTHER})
    assert [proxy.get(headers={"x-api-key": key}).status for key in (KEY, OTHER, "sk-unknown-0000")] == [200, 200, 401]
    # A change of the file is a change of the configuration.
    seen = len(proxy.err)
    fresh = tmp_path / "key.new"
    fresh.write_text("sk-renewed-0123456789")
    fresh.replace(file)
    proxy.wait_for("configuration loaded", since=seen)
    assert [proxy.get(headers={"x-api-key": key}).status for key in (KEY, "sk-renewed-0123456789")] == [401, 200]


def test_no_key_is_dumped_or_quoted(secured, gateway, host):
    proxy = secured()
    dump = json.dumps(proxy.dump())
    assert "team-a" in dump and KEY not in dump and OTHER not in dump
    assert hashlib.sha256(KEY.encode()).hexdigest() not in dump
    seen = len(proxy.err)
    proxy.write(routes(proxy.port, to(host, policies={"apiKey": {"keys": [{"key": "secret with spaces"}]}})))
    proxy.wait_for("a key is made of visible ASCII", since=seen)
    assert "secret with spaces" not in "\n".join(proxy.err)
    assert proxy.get(headers={"x-api-key": KEY}).status == 200, "what runs stays"
