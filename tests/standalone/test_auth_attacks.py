"""Ways past authentication and authorization that are known from other gateways, and that must not lead anywhere here."""

import base64
import hashlib
import hmac
import json

import pytest

from support.echo import headers_of
from support.http1 import Raw
from support.http2 import Http2
from support.proxy import to
from support.tokens import AUDIENCE, ISSUER, Key, bearer, payload, signed_with_public_key, unsigned


def part(data):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def key():
    return Key("RS256")


@pytest.fixture
def host(backend):
    return backend()


def jwt(key, **fields):
    return {"jwtAuth": {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": json.dumps(key.jwks)}, **fields}}


def test_tokens_that_choose_their_own_verification(gateway, host, key):
    """What a token's head says about keys and algorithms counts for nothing but to choose among the issuer's keys."""
    proxy = gateway(to(host, policies=jwt(key)))
    own = Key("RS256", "mine")
    heads = [
        {"jwk": own.jwk},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"kid": own.kid, "jwk": own.jwk},
        *({"kid": kid} for kid in ("../../../../dev/null", "' OR 1=1 --", "key-1\u0000", "", "a" * 4096, "*", "key-1 ")),
    ]
    for head in heads:
        assert proxy.get(headers=bearer(own.token(headers={"kid": key.kid, **head}))).status == 401, head
    for algorithm in ("none", "None", "nOnE", "NONE", ""):
        assert proxy.get(headers=bearer(unsigned(algorithm))).status == 401, algorithm
    for secret in (key.pem, key.pem.strip(), json.dumps(key.jwk), key.jwk["n"], ""):
        assert proxy.get(headers=bearer(signed_with_public_key(secret))).status == 401
    # HMAC with the key's id in its head, so that it is found.
    head = {"alg": "HS256", "kid": key.kid}
    signed = f"{part(head)}.{part(payload())}"
    mac = part(hmac.new(key.pem.encode(), signed.encode(), hashlib.sha256).digest())
    assert proxy.get(headers=bearer(f"{signed}.{mac}")).status == 401
    # An extension that must be understood and is not.
    assert proxy.get(headers=bearer(key.token(headers={"crit": ["exp"]}))).status == 401
    assert host.seen == []
    assert proxy.get(headers=bearer(key.token())).status == 200


def test_tokens_that_are_taken_apart(gateway, host, key):
    proxy = gateway(to(host, policies=jwt(key)))
    head, claims, signature = key.token().split(".")
    _, admin, _ = key.token(sub="admin").split(".")
    for token in (
        f"{head}.{admin}.{signature}",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}..{signature}",
        f".{claims}.{signature}",
        f"{head}.{claims}.{signature}.{signature}",
        f"{head}.{claims}.{signature}=",
        f"{head}.{claims}.{signature[:-4]}",
        f"{head}.{claims}.{part(bytes(256))}",
        f"{head}%2e{claims}.{signature}",
        f"{head}.{claims}.{signature}, Bearer {head}.{claims}.{signature}",
        "." * 1000,
        "a" * 17000,
    ):
        assert proxy.get(headers=bearer(token)).status in (401, 431), token[:60]
    # Claims that are not what they should be.
    for wrong in ({"exp": "4000000000"}, {"exp": [4000000000]}, {"exp": True}, {"nbf": "0"}, {"aud": {"0": AUDIENCE}}, {"iss": [ISSUER]}):
        token = json.dumps({**payload(), **wrong})
        signed = f"{part({'alg': 'RS256', 'kid': key.kid})}.{part(token.encode())}"
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        signature = key.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        assert proxy.get(headers=bearer(f"{signed}.{part(signature)}")).status == 401, wrong
    assert host.seen == []


def test_a_deeply_nested_token_costs_nothing(gateway, host, key):
    proxy = gateway(to(host, policies=jwt(key)))
    nested = ("[" * 5000 + "]" * 5000).encode()
    assert proxy.get(headers=bearer(f"{part({'alg': 'RS256'})}.{part(nested)}.{part(b'x')}")).status == 401
    assert proxy.get(headers=bearer(key.token())).status == 200


ADMIN = [
    {"path": "/admin/../admin", "sees": None},
    {"path": "/public/../admin", "sees": None},
    {"path": "/public/%2e%2e/admin", "sees": None},
    {"path": "/public/..%2fadmin", "sees": None},
    {"path": "/public%2f..%2fadmin", "sees": None},
    {"path": "/public/..;/admin", "sees": None},
    {"path": "/./admin", "sees": None},
    {"path": "/public/..\\admin", "sees": None},
    {"path": "/admin/%00", "sees": None},
    {"path": "/admin", "sees": "protected"},
    {"path": "/admin/", "sees": "protected"},
    {"path": "/admin/x", "sees": "protected"},
    {"path": "/admin?x", "sees": "protected"},
    {"path": "/admin/;x=1", "sees": "protected"},
    # Other paths to routes and to rules; whether to a backend too, its operator knows.
    {"path": "/admin;x=1", "sees": "open"},
    {"path": "/%61dmin", "sees": "open"},
    {"path": "/ADMIN", "sees": "open"},
    {"path": "//admin", "sees": "open"},
    {"path": "/admin%2f", "sees": "open"},
    {"path": "/administrator", "sees": "open"},
]


@pytest.mark.parametrize("case", ADMIN, ids=lambda case: case["path"])
def test_rules_and_routes_see_one_path(gateway, backend, case):
    """One gateway protects by a route, the other by a rule; both decide alike, and dot segments are refused by both."""
    protected, open_ = backend("protected"), backend("open")
    deny = {"authorization": {"rules": [{"deny": "true"}]}}
    by_route = gateway(to(protected, matches=[{"path": {"pathPrefix": "/admin"}}], policies=deny), to(open_))
    rules = {"authorization": {"rules": [{"deny": "request.path == '/admin' || request.path.startsWith('/admin/')"}]}}
    by_rule = gateway(to(open_), policies=rules)
    expected = {None: 400, "protected": 403, "open": 200}[case["sees"]]
    for proxy in (by_route, by_rule):
        with Raw(proxy.port) as raw:
            raw.send(f"GET {case['path']} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            assert raw.read_response().status == expected
    assert protected.seen == []


def test_one_host_counts_for_routes_and_rules(gateway, backend):
    private, public = backend("private"), backend("public")
    rules = {"authorization": {"rules": [{"deny": "request.host == 'private.example'"}, {"deny": "request.headers['host'].startsWith('private')"}]}}
    proxy = gateway(to(private, hostnames=["private.example"]), to(public), policies=rules)
    for head in (
        "GET / HTTP/1.1\r\nhost: private.example",
        "GET / HTTP/1.1\r\nhost: PRIVATE.example\r\nx: y",
        "GET http://private.example/ HTTP/1.1\r\nhost: public.example",
        "GET http://PRIVATE.example:80/ HTTP/1.1\r\nhost: public.example",
        "GET / HTTP/1.1\r\nhost: private.example.",
    ):
        with Raw(proxy.port) as raw:
            raw.send(head + "\r\nconnection: close\r\n\r\n")
            assert raw.read_response().status == 403, head
    for head in (
        "GET / HTTP/1.1\r\nhost: public.example\r\nhost: private.example",
        "GET / HTTP/1.1\r\nhost: public.example, private.example",
        "GET / HTTP/1.1\r\nhost: user@private.example",
        "GET http://user@private.example/ HTTP/1.1\r\nhost: public.example",
        "GET / HTTP/1.1\r\nhost : private.example",
        "GET / HTTP/1.1\r\n host: private.example",
    ):
        with Raw(proxy.port) as raw:
            raw.send(head + "\r\nconnection: close\r\n\r\n")
            assert raw.read_response().status in (400, 404), head
    # The absolute form outranks Host, for the backend too.
    with Raw(proxy.port) as raw:
        raw.send("GET http://public.example/ HTTP/1.1\r\nhost: private.example\r\nconnection: close\r\n\r\n")
        response = raw.read_response()
    assert response.status == 200 and headers_of(response.json())["host"] == "public.example"
    # Over HTTP/2 both must be the same.
    with Http2(proxy.port, validates=False) as client:
        for authority, other in (("public.example", "private.example"), ("private.example", "public.example")):
            assert client.request("/", headers=[("host", other)], authority=authority)[0] == 400
        assert client.request("/", headers=[("host", "public.example")], authority="public.example")[0] == 200
    assert private.seen == []


def test_credentials_that_are_there_twice(gateway, host, key):
    """One place, one credential: a backend that took the other one would see somebody else."""
    policies = {**jwt(key, mode="optional"), "apiKey": {"mode": "optional", "locations": [{"header": {"name": "x-key"}}], "keys": [{"key": "sk-0123456789"}]}}
    proxy = gateway(to(host, policies=policies))
    token = f"Bearer {key.token()}"
    for headers in (
        [("authorization", token), ("authorization", "Bearer evil")],
        [("authorization", token), ("Authorization", token)],
        [("authorization", f"{token},Bearer evil")],
        [("x-key", "sk-0123456789"), ("X-Key", "evil")],
    ):
        assert proxy.get(headers=headers).status == 401, headers
    # What is not looked at reaches the backend as it is, and says nothing about the caller to rules.
    assert proxy.get(headers={"x_key": "sk-0123456789"}).status == 200
    assert host.seen and "x-key" not in dict(host.seen[-1]["headers"])


def test_what_a_connection_header_names(gateway, host, key):
    """`Connection` cannot make the gateway take a header off that policies and backends rely on."""
    policies = {**jwt(key), "requestHeaderModifier": {"set": [{"name": "x-user", "value": "checked"}]}}
    proxy = gateway(to(host, policies=policies))
    response = proxy.get(headers=[*bearer(key.token()), ("connection", "authorization, host, content-length")])
    assert response.status == 200
    response = proxy.get(headers=[*bearer(key.token()), ("connection", "close, x-forwarded-for")])
    assert headers_of(response.json())["x-user"] == "checked"


def test_messages_that_two_readers_read_differently(gateway, host):
    rules = {"authorization": {"rules": [{"deny": "request.path.startsWith('/admin')"}]}}
    proxy = gateway(to(host), policies=rules)
    smuggled = "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n"
    for head in (
        f"content-length: {len(smuggled)}\r\ntransfer-encoding: chunked",
        "content-length: 0\r\ncontent-length: 30",
        "content-length: 5, 30",
        "content-length: +5",
        "content-length: 0x5",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "x: y\r\n folded: z",
        "x: a\0b",
        "x: a\rtransfer-encoding: chunked",
    ):
        with Raw(proxy.port) as raw:
            raw.send(f"POST /public HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}")
            try:
                statuses = [raw.read_response().status]
                statuses.append(raw.read_response().status)
            except (EOFError, ConnectionError, TimeoutError):
                pass
        assert not [request for request in host.seen if request["path"].startswith("/admin")], head
        assert statuses[-1] in (400, 403, 501) or len(statuses) == 1, (head, statuses)


@pytest.mark.parametrize("rule", ["jwt.sub == 'me'", "apiKey.name == 'a'", "basicAuth.username == 'a'", "source.identity == 'spiffe://a/b'"])
def test_claims_cannot_be_made_up(gateway, host, rule):
    """Without the policy that verifies there is nothing to allow, whatever headers say."""
    proxy = gateway(to(host, policies={"authorization": {"rules": [{"allow": rule}]}}))
    forged = [("authorization", f"Bearer {unsigned()}"), ("x-api-key", "a"), ("x-forwarded-client-cert", "URI=spiffe://a/b"), ("jwt", '{"sub":"me"}')]
    assert proxy.get(headers=forged).status == 403
    assert host.seen == []
