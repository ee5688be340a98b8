"""Changes to requests and responses by expressions."""

import hashlib
import json
import subprocess

import pytest

from support import paths
from support.echo import headers_of
from support.http1 import Client
from support.http2 import Http2
from support.proxy import routes, to
from support.tokens import AUDIENCE, ISSUER, Key, bearer


@pytest.fixture
def host(backend):
    return backend()


def transformation(request=None, response=None):
    parts = {"request": request, "response": response}
    return {"transformation": {name: part for name, part in parts.items() if part}}


def sets(**headers):
    return {"set": [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]}


def digest(body):
    return hashlib.sha256(body if isinstance(body, bytes) else body.encode()).hexdigest()


def test_headers_from_what_is_known_of_the_caller(gateway, host):
    key = Key("ES256")
    made = transformation({**sets(x_user="jwt.sub", x_from="source.address", x_path="request.path"), "remove": ["x-gone"]})
    jwt = {"jwtAuth": {"mode": "optional", "issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": json.dumps(key.jwks)}}}
    proxy = gateway(to(host, policies={**made, **jwt}))
    sent = headers_of(proxy.get("/a?b", headers=[*bearer(key.token(sub="ada")), ("x-user", "forged"), ("x-gone", "1")]).json())
    assert (sent["x-user"], sent["x-from"], sent["x-path"]) == ("ada", "127.0.0.1", "/a") and "x-gone" not in sent
    sent = headers_of(proxy.get(headers={"x-user": "forged"}).json())
    assert "x-user" not in sent, "without a value nothing is left of what the caller wrote"


def test_the_request_line_and_the_status(gateway, host):
    request = {"set": [{"name": ":path", "value": "'/v2' + request.path + '?from=' + request.method"}, {"name": ":method", "value": "'PUT'"}, {"name": ":authority", "value": "'inner.example'"}]}
    response = {"set": [{"name": ":status", "value": "response.code == 200 ? 203 : response.code"}]}
    proxy = gateway(to(host, policies=transformation(request, response)))
    answer = proxy.get("/a?b=c", method="POST", headers={"host": "outer.example"})
    seen = answer.json()
    assert (answer.status, seen["method"], seen["target"]) == (203, "PUT", "/v2/a?from=POST")
    assert headers_of(seen)["host"] == "inner.example" and headers_of(seen)["x-forwarded-host"] == "outer.example"
    wrong = gateway(to(host, policies=transformation({"set": [{"name": ":path", "value": "request.headers['x-path']"}]})))
    assert wrong.get(headers={"x-path": "/x"}).json()["target"] == "/x"
    assert wrong.get(headers={"x-path": "x"}).status == 500 and wrong.get().status == 500
    assert any("transformation" in line for line in wrong.access_lines("500"))


def test_a_route_is_chosen_by_what_the_listener_made(gateway, backend):
    gold, plain = backend("gold"), backend("plain")
    made = transformation({"set": [{"name": "x-tier", "value": "request.query.tier"}]})
    proxy = gateway(to(gold, matches=[{"headers": [{"name": "x-tier", "exact": "gold"}]}]), to(plain), policies=made)
    assert proxy.get("/?tier=gold").json()["backend"] == "gold"
    assert proxy.get("/", headers={"x-tier": "gold"}).json()["backend"] == "plain"


def test_bodies_of_requests(gateway, host):
    body = {"parseAs": "AsJson", "value": "{'model': 'large', 'prompt': request.body.prompt, 'user': request.headers['x-user']}"}
    proxy = gateway(to(host, policies=transformation({**sets(x_model="request.body.model"), "body": body})))
    ask = lambda text, **headers: proxy.get(method="POST", headers={"x-user": "ada", **headers}, body=text.encode())
    response = ask(json.dumps({"model": "small", "prompt": "hi"}))
    assert response.status == 200
    seen = host.seen[-1]
    expected = json.dumps({"model": "large", "prompt": "hi", "user": "ada"}, separators=(",", ":"))
    assert seen["sha256"] == digest(expected) and dict(seen["headers"])["content-length"] == str(len(expected))
    assert dict(seen["headers"])["x-model"] == "small", "values are those of the request as it came"
    large = "x" * 200_000
    assert ask(json.dumps({"model": "small", "prompt": large})).status == 200
    assert host.seen[-1]["sha256"] == digest(expected.replace("hi", large))
    count = len(host.seen)
    assert ask("no json").status == 400
    assert ask("{}").status == 500
    assert ask("{}", **{"content-encoding": "gzip"}).status == 415
    assert ask(json.dumps({"prompt": "x" * (1 << 20)})).status == 413
    assert len(host.seen) == count


def test_bodies_of_responses(gateway, host):
    made = transformation(None, {**sets(x_name="response.body.backend", x_method="request.method", x_kind="response.headers['content-type']"), "body": {"parseAs": "AsJson", "value": "{'path': response.body.path, 'asked': request.headers['x-asked']}"}})
    proxy = gateway(to(host, policies=made))
    response = proxy.get("/a?header=etag:1", headers={"x-asked": "this", "accept-encoding": "gzip"})
    assert response.json() == {"path": "/a", "asked": "this"}
    assert response.header("content-length") == str(len(response.body)) and response.header("etag") is None
    assert (response.header("x-name"), response.header("x-method"), response.header("x-kind")) == (host.name, "GET", "application/json")
    assert "accept-encoding" not in dict(host.seen[-1]["headers"]), "a compressed body cannot be read"
    with Http2(proxy.port) as client:
        assert client.request("/b", headers=[("x-asked", "2")])[0] == 200
    # What was to be taken out of a body is not shown.
    for query in ("size=100", "chunks=2", "header=content-encoding:gzip"):
        response = proxy.get(f"/?{query}", headers={"x-asked": "this"})
        assert (response.status, response.text) == (502, "the response cannot be transformed"), query
    assert proxy.get().status == 500, "the header that the expression reads is absent"
    proxy.wait_for("a response cannot be transformed")
    # There is no body.
    assert proxy.get("/?status=204", headers={"x-asked": "this"}).status == 204
    response = proxy.get("/", method="HEAD", headers={"x-asked": "this"})
    assert (response.status, response.header("content-length")) == (200, None), "nobody knows how long it would be"
    with Client(proxy.port) as client:
        for _ in range(2):
            assert client.request("/", headers={"x-asked": "this"}).json()["path"] == "/"


def test_what_is_larger_than_the_bound_is_no_answer(gateway, host):
    proxy = gateway(to(host, policies=transformation(None, {"body": {"value": "response.body + '!'"}})))
    assert proxy.get("/?size=1000").body == bytes(1000) + b"!"
    assert proxy.get(f"/?size={(1 << 20) + 1}").status == 502
    assert proxy.get("/?chunks=0").status == 502, "a stream that does not end"


def test_levels_are_all_made(gateway, host):
    def level(name):
        return transformation({"add": [{"name": "x-way", "value": f"'{name}'"}]}, {"add": [{"name": "x-back", "value": f"'{name}'"}]})

    route = to(host, policies=level("route"))
    route["backends"][0]["policies"] = level("backend")
    proxy = gateway(route, policies=level("listener"))
    response = proxy.get()
    way = [value for name, value in response.json()["headers"] if name == "x-way"]
    assert way == ["listener", "route", "backend"]
    assert response.all("x-back") == ["backend", "route", "listener"]


def test_answers_of_policies_are_transformed_too(gateway, host):
    policies = {**transformation(None, {"body": {"value": "'{\"error\": \"' + response.body + '\"}'"}}), "authorization": {"rules": [{"deny": "request.path == '/no'"}]}}
    proxy = gateway(to(host, policies=policies))
    response = proxy.get("/no")
    assert (response.status, response.json()) == (403, {"error": "authorization failed"})


@pytest.mark.parametrize(
    "part, message",
    [
        ({"request": sets(x="response.code")}, 'unknown variable "response"'),
        ({"response": sets(x="request.body")}, 'has no field "body"'),
        ({"request": {"body": {"value": "request.bdy"}}}, 'has no field "bdy"'),
        ({"request": {"set": [{"name": "Host", "value": "'a'"}]}}, "frames the message"),
    ],
)
def test_expressions_that_cannot_be_are_named(tmp_path, part, message):
    file = tmp_path / "config.yaml"
    file.write_text(routes(3000, to("localhost:1", policies={"transformation": part})))
    checked = subprocess.run([paths.agentgateway(), "-f", file, "--validate-only"], capture_output=True, text=True, timeout=20)
    assert checked.returncode != 0 and message in checked.stderr


def test_metadata_for_policies_after_it(gateway, host):
    """A listener's transformation leaves what rules, limits and transformations of the route see."""
    left = {"metadata": {"tier": "request.headers['x-tier']", "parts": "request.path.split('/')", "none": "jwt.sub"}}
    bucket = {"maxTokens": 1, "fillInterval": "1h", "key": ["metadata.tier"]}
    policies = {
        "authorization": {"rules": [{"require": "metadata.tier != 'none' && !has(metadata.none)"}]},
        "localRateLimit": [bucket],
        **transformation(sets(x_part="metadata.parts[1]"), {**sets(x_seen="metadata.tier"), "metadata": {"code": "response.code"}}),
    }
    after = transformation(None, sets(x_code="metadata.code"))
    proxy = gateway(to(host, policies=policies), policies=transformation(left, after["transformation"]["response"]))
    response = proxy.get("/a/b", headers={"x-tier": "gold"})
    assert (response.status, headers_of(response.json())["x-part"]) == (200, "a")
    assert (response.header("x-seen"), response.header("x-code")) == ("gold", "200")
    assert [proxy.get("/a/b", headers={"x-tier": tier}).status for tier in ("gold", "silver", "none")] == [429, 200, 403]
    assert proxy.get("/a/b").status == 403, "without a value there is nothing to rely on"
