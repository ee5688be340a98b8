"""Authorization of requests by CEL rules."""

import json

import pytest

from support.proxy import to
from support.tokens import ISSUER, Key, bearer


def authorized(gateway, backend, *rules, level="route"):
    policies = {"authorization": {"rules": list(rules)}}
    return gateway(to(backend(), policies=policies)) if level == "route" else gateway(to(backend()), policies=policies)


@pytest.mark.parametrize("level", ["route", "listener"])
def test_allow_rules_are_alternatives_and_the_rest_is_refused(gateway, backend, level):
    rules = [{"allow": "request.path.startsWith('/open')"}, {"allow": "request.method == 'OPTIONS'"}]
    proxy = authorized(gateway, backend, *rules, level=level)
    assert proxy.get("/open/x").status == 200
    assert proxy.get("/else", method="OPTIONS").status == 200
    refused = proxy.get("/else")
    assert refused.status == 403 and refused.text.strip() == "authorization failed"


def test_deny_wins(gateway, backend):
    proxy = authorized(gateway, backend, {"allow": "true"}, {"deny": "request.headers['x-user'] == 'banned'"})
    assert proxy.get(headers=[("x-user", "me")]).status == 200
    assert proxy.get(headers=[("x-user", "banned")]).status == 403


def test_every_requirement_must_hold(gateway, backend):
    proxy = authorized(gateway, backend, {"require": "request.headers['x-a'] == '1'"}, {"require": "request.headers['x-b'] == '2'"})
    assert proxy.get(headers=[("x-a", "1"), ("x-b", "2")]).status == 200
    assert proxy.get(headers=[("x-a", "1")]).status == 403, "a rule that cannot be evaluated does not hold"


def test_deny_without_allow_lets_the_rest_pass(gateway, backend):
    proxy = authorized(gateway, backend, {"deny": "request.path == '/secret'"})
    assert proxy.get("/else").status == 200
    assert proxy.get("/secret").status == 403


def test_a_deny_that_cannot_be_evaluated_denies(gateway, backend):
    proxy = authorized(gateway, backend, {"deny": "request.headers['x-a'] == '1'"})
    assert proxy.get(headers=[("x-a", "2")]).status == 200
    assert proxy.get().status == 403


def test_source_address(gateway, backend):
    proxy = authorized(gateway, backend, {"allow": "source.address == '127.0.0.1'"})
    assert proxy.get().status == 200
    elsewhere = authorized(gateway, backend, {"allow": "source.address == '10.1.2.3'"})
    assert elsewhere.get().status == 403


def test_claims(gateway, backend):
    key = Key("ES256")
    policies = {
        "jwtAuth": {"issuer": ISSUER, "jwks": {"inline": json.dumps(key.jwks)}},
        "authorization": {"rules": [{"allow": "'admin' in jwt.groups"}]},
    }
    proxy = gateway(to(backend(), policies=policies))
    assert proxy.get(headers=bearer(key.token(groups=["admin"]))).status == 200
    assert proxy.get(headers=bearer(key.token(groups=["user"]))).status == 403
    assert proxy.get(headers=bearer(key.token())).status == 403
    assert proxy.get().status == 401, "authentication comes first"


def test_levels_are_evaluated_each_by_itself(gateway, backend):
    proxy = gateway(
        to(backend(), policies={"authorization": {"rules": [{"allow": "request.headers['x-b'] == '1'"}]}}),
        policies={"authorization": {"rules": [{"allow": "request.headers['x-a'] == '1'"}]}},
    )
    assert proxy.get(headers=[("x-a", "1"), ("x-b", "1")]).status == 200
    assert proxy.get(headers=[("x-a", "1")]).status == 403
    assert proxy.get(headers=[("x-b", "1")]).status == 403
