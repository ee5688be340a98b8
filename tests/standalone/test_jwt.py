"""JWT authentication, and what becomes of the token afterwards."""

import json
import time

import pytest

from support.echo import headers_of
from support.proxy import to
from support.tokens import AUDIENCE, ISSUER, Key, bearer, signed_with_public_key, unsigned


@pytest.fixture(scope="module")
def key():
    return Key("RS256")


@pytest.fixture
def secured(gateway, backend):
    def make(key, policies=None, level="route", **fields):
        jwt = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": json.dumps(key.jwks)}, **fields}
        jwt = {name: value for name, value in jwt.items() if value is not None}
        policies = {"jwtAuth": jwt, **(policies or {})}
        host = backend()
        proxy = gateway(to(host, policies=policies)) if level == "route" else gateway(to(host), policies=policies)
        proxy.backend = host
        return proxy

    return make


@pytest.mark.parametrize("level", ["route", "listener"])
def test_strict_by_default(secured, key, level):
    proxy = secured(key, level=level)
    refused = proxy.get()
    assert refused.status == 401
    assert refused.header("www-authenticate").startswith("Bearer")
    assert proxy.backend.seen == []
    assert proxy.get(headers=bearer(key.token())).status == 200


def wrong_tokens(key):
    other = Key("RS256", key.kid)
    now = time.time()
    return {
        "another issuer": key.token(iss="evil.example"),
        "no issuer": key.token(iss=None),
        "another audience": key.token(aud="other.example"),
        "no audience": key.token(aud=None),
        "expired": key.token(exp=now - 600),
        "never expires": key.token(exp=None),
        "not valid yet": key.token(nbf=now + 600),
        "another key": other.token(),
        "alg none": unsigned(),
        "alg None": unsigned("None"),
        "HS256 with the PEM as secret": signed_with_public_key(key.pem),
        "HS256 with the JWK as secret": signed_with_public_key(json.dumps(key.jwk)),
        "changed claims": swap_claims(key),
        "no JWT": "abc",
    }


def swap_claims(key):
    """The head and signature of a good token around other claims."""
    good, other = key.token().split("."), key.token(sub="admin").split(".")
    return ".".join([good[0], other[1], good[2]])


def test_wrong_tokens_are_refused(secured, key):
    proxy = secured(key)
    assert proxy.get(headers=bearer(key.token())).status == 200
    for name, token in wrong_tokens(key).items():
        refused = proxy.get(headers=bearer(token))
        assert refused.status == 401, name
        assert 'error="invalid_token"' in refused.header("www-authenticate"), name
    assert proxy.get(headers=bearer(key.token()) * 2).status == 401, "two tokens"
    assert proxy.get(headers=[("authorization", "Basic bWU6cHc=")]).status == 401
    assert len(proxy.backend.seen) == 1


def test_optional_takes_no_token_but_no_wrong_one(secured, key):
    proxy = secured(key, mode="optional")
    assert proxy.get().status == 200
    assert proxy.get(headers=bearer(key.token())).status == 200
    assert proxy.get(headers=bearer(key.token(iss="evil.example"))).status == 401


def test_permissive_refuses_nothing(secured, key):
    proxy = secured(key, mode="permissive", policies={"authorization": {"rules": [{"deny": "has(jwt.sub) && jwt.sub == 'banned'"}]}})
    assert proxy.get(headers=bearer(key.token(iss="evil.example"))).status == 200
    assert proxy.get(headers=bearer(key.token(sub="banned"))).status == 403, "claims of a valid token are used"
    assert proxy.get(headers=bearer(key.token(sub="banned", iss="evil.example"))).status == 200, "and those of no other"


def test_any_audience_where_none_is_named(secured, key):
    proxy = secured(key, audiences=None)
    assert proxy.get(headers=bearer(key.token(aud=None))).status == 200


def test_one_of_several_audiences(secured, key):
    proxy = secured(key)
    assert proxy.get(headers=bearer(key.token(aud=["else", AUDIENCE]))).status == 200


def test_several_issuers(gateway, backend, key):
    second = Key("ES256", "second")
    providers = [
        {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": json.dumps(key.jwks)}},
        {"issuer": "second.example", "jwks": {"inline": json.dumps(second.jwks)}},
    ]
    proxy = gateway(to(backend(), policies={"jwtAuth": {"providers": providers}}))
    assert proxy.get(headers=bearer(key.token())).status == 200
    assert proxy.get(headers=bearer(second.token(iss="second.example"))).status == 200
    assert proxy.get(headers=bearer(second.token())).status == 401, "one issuer's key does not sign for another"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("form", ["jwk", "jwks", "pem"])
def test_key_files(gateway, backend, tmp_path, algorithm, form):
    key = Key(algorithm)
    text = {"jwk": json.dumps(key.jwk), "jwks": json.dumps(key.jwks), "pem": key.pem}[form]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "pub-key").write_text(text)
    jwt = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"file": "./keys/pub-key"}}
    # Relative to the folder that the proxy runs in, which is not that of the configuration.
    proxy = gateway(to(backend(), policies={"jwtAuth": jwt}), cwd=tmp_path)
    assert proxy.get().status == 401
    assert proxy.get(headers=bearer(key.token())).status == 200
    assert proxy.get(headers=bearer(Key(algorithm).token())).status == 401


def test_a_private_key_is_refused_and_not_repeated(gateway, backend, key, tmp_path):
    (tmp_path / "pub-key").write_text(key.private_pem)
    jwt = {"issuer": ISSUER, "jwks": {"file": "pub-key"}}
    proxy = gateway(to(backend(), policies={"jwtAuth": jwt}), cwd=tmp_path, ready=False)
    assert proxy.wait() != 0
    text = "\n".join(proxy.err)
    assert "pub-key" in text and key.private_pem.splitlines()[1] not in text


def test_the_token_ends_at_the_proxy(secured, key):
    got = headers_of(secured(key).get(headers=bearer(key.token())).json())
    assert "authorization" not in got


@pytest.mark.parametrize("level", ["listener", "route", "backend"])
def test_passthrough_gives_the_token_to_the_backend(gateway, backend, key, level):
    jwt = {"jwtAuth": {"issuer": ISSUER, "jwks": {"inline": key.pem}}}
    auth = {"backendAuth": {"passthrough": {}}}
    share = {"host": backend().address, **({"policies": auth} if level == "backend" else {})}
    route = to(share, policies={**jwt, **(auth if level == "route" else {})})
    proxy = gateway(route, policies=auth if level == "listener" else None)
    token = key.token()
    assert headers_of(proxy.get(headers=bearer(token)).json())["authorization"] == f"Bearer {token}"
    assert proxy.get(headers=bearer(key.token(iss="evil.example"))).status == 401


def test_without_authentication_the_header_is_the_backends(gateway, backend):
    proxy = gateway(to(backend()))
    assert headers_of(proxy.get(headers=bearer("for-the-backend")).json())["authorization"] == "Bearer for-the-backend"
