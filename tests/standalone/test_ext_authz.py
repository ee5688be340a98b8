"""External authorization: Envoy's gRPC protocol and HTTP, what is sent, what an answer does, and what a failure does."""

import json
import os
import socket
import time

import grpc
import pytest

from support.authz import GrpcAuthz, HttpAuthz, allowed, denied, option
from support.echo import headers_of
from support.envoy import EnvoyServices, option as envoy_option
from support.http1 import Client, Raw
from support.http2 import Http2
from support.proxy import routes, to
from support.tokens import ISSUER, Key


@pytest.fixture
def host(backend):
    return backend()


@pytest.fixture
def authz(ports):
    service = GrpcAuthz(ports.free())
    yield service
    service.close()


@pytest.fixture
def http_authz(ports):
    service = HttpAuthz(ports.free())
    yield service
    service.close()


def policy(service, **fields):
    return {"extAuthz": {"host": getattr(service, "address", service), **fields}}


def test_requests_pass_or_get_the_services_answer(gateway, host, authz):
    proxy = gateway(to(host, policies=policy(authz)))
    response = proxy.get("/a?b=1", headers={"x-token": "good", "x-user": "forged"})
    assert response.status == 200
    headers = headers_of(response.json())
    assert headers["x-user"] == "ada" and "x-token" not in headers
    response = proxy.get("/a")
    assert (response.status, response.text, response.header("www-authenticate")) == (401, "who are you?", "Bearer")
    assert len(host.seen) == 1
    assert any("ext_authz_denied" in line for line in proxy.access_lines("401"))


def test_what_the_service_is_told(gateway, host, authz):
    grpc_config = {"grpc": {"context": {"tenant": "blue"}}}
    proxy = gateway(to(host, policies=policy(authz, protocol=grpc_config)))
    with Client(proxy.port) as client:
        client.request("/path?q=1", "PUT", [("host", "shop.test:81"), ("x-many", "1"), ("x-many", "2"), ("x-token", "good")], b"body")
    attributes = authz.requests[0]
    http = attributes.request.http
    assert (http.method, http.path, http.host, http.scheme, http.protocol) == ("PUT", "/path?q=1", "shop.test:81", "http", "HTTP/1.1")
    assert http.headers["x-many"] == "1,2" and http.size == 4 and http.body == "" and http.raw_body == b""
    assert dict(attributes.context_extensions) == {"tenant": "blue"}
    assert attributes.source.address.socket_address.address == "127.0.0.1"
    assert abs(attributes.request.time.seconds - time.time()) < 30
    with Http2(proxy.port) as client:
        assert client.request("/two", headers=[("x-token", "good")], authority="two.test")[0] == 200
    http = authz.requests[1].request.http
    assert (http.host, http.path, http.protocol) == ("two.test", "/two", "HTTP/2")


def test_only_allowed_headers_are_sent(gateway, host, authz):
    proxy = gateway(to(host, policies=policy(authz, protocol={"grpc": {"allowedHeaders": ["X-Token"]}})))
    assert proxy.get(headers={"x-token": "good", "cookie": "secret=1"}).status == 200
    assert dict(authz.requests[0].request.http.headers) == {"x-token": "good"}


def test_changes_of_headers(gateway, host, authz):
    authz.answer = lambda *_: allowed(
        headers=[
            option("x-set", "new"),
            option("x-appended", "new", append={"value": True}),
            option("x-absent", "new", append_action=1),
            option("content-length", "7"),
            option("host", "evil.test"),
        ],
        headers_to_remove=["x-removed"],
        response_headers_to_add=[option("x-for-client", "1")],
    )
    proxy = gateway(to(host, policies=policy(authz)))
    sent = {"x-set": "old", "x-appended": "old", "x-absent": "old", "x-removed": "old", "host": "a.test"}
    response = proxy.get(headers=sent, method="POST", body=b"four")
    headers = headers_of(response.json())
    found = [headers.get(name) for name in ("x-set", "x-appended", "x-absent", "x-removed", "host", "content-length")]
    assert found == ["new", "old, new", "old", None, "a.test", "4"]
    assert response.header("x-for-client") == "1"


def test_what_it_leaves_is_known_to_later_policies_and_to_logs(gateway, host, authz):
    def answer(attributes, _):
        made = allowed() if attributes.request.http.path == "/in" else denied(403, "no")
        made.dynamic_metadata.update({"team": "blue", "level": 7})
        return made

    authz.answer = answer
    added = {"add": {"team": "metadata.team"}, "format": "Json"}
    later = {
        "authorization": {"rules": [{"allow": "metadata.team == 'blue' && metadata.level == 7"}]},
        "transformation": {"request": {"set": [{"name": "x-team", "value": "metadata.team"}]}},
        "accessLog": [added],
    }
    proxy = gateway(to(host, policies={**policy(authz), **later}))
    response = proxy.get("/in")
    assert response.status == 200 and headers_of(response.json())["x-team"] == "blue"
    assert proxy.get("/out").status == 403
    for status in ("200", "403"):
        assert json.loads(proxy.access_lines(f'"status": ?{status}')[0])["team"] == "blue"


def test_rules_come_after_it_and_see_its_headers(gateway, host, authz):
    rules = {"authorization": {"rules": [{"allow": "request.headers['x-user'] == 'ada'"}]}}
    proxy = gateway(to(host, policies={**policy(authz), **rules}))
    assert proxy.get(headers={"x-token": "good"}).status == 200


def test_the_token_that_authentication_took_off_is_sent(gateway, host, authz):
    key = Key("ES256")
    jwt = {"jwtAuth": {"issuer": ISSUER, "jwks": {"inline": json.dumps(key.jwks)}}}
    authz.answer = lambda attributes, _: allowed() if "authorization" in attributes.request.http.headers else denied(401, "")
    proxy = gateway(to(host, policies={**policy(authz), **jwt}))
    assert proxy.get().status == 401 and not authz.requests, "authentication comes first"
    response = proxy.get(headers={"authorization": f"Bearer {key.token()}"})
    assert response.status == 200 and "authorization" not in headers_of(response.json())


def test_bodies_are_sent_and_reach_the_backend(gateway, host, authz):
    authz.answer = lambda *_: allowed()
    proxy = gateway(to(host, policies=policy(authz, forwardBody={"maxSize": 1000})))
    assert proxy.get(method="POST", body=b"some text").json()["length"] == 9
    assert authz.requests[0].request.http.body == "some text"
    assert authz.requests[0].request.http.headers["x-envoy-auth-partial-body"] == "false"
    binary = os.urandom(1000)
    assert proxy.get(method="POST", body=binary).json()["length"] == 1000
    assert (authz.requests[1].request.http.raw_body or authz.requests[1].request.http.body.encode()) == binary
    assert proxy.get().status == 200


def test_a_body_that_is_too_large_is_413(gateway, host, authz):
    authz.answer = lambda *_: allowed()
    proxy = gateway(to(host, policies=policy(authz, forwardBody={"maxSize": 1000})))
    with Client(proxy.port) as client:
        assert client.request(method="POST", body=bytes(1001)).status == 413
        chunked = b"3e9\r\n" + bytes(1001) + b"\r\n0\r\n\r\n"
        assert client.request(method="POST", headers={"transfer-encoding": "chunked"}, body=chunked).status == 413
        assert client.request(method="POST", body=bytes(1000)).status == 200
    assert len(authz.requests) == len(host.seen) == 1


def test_the_beginning_of_a_large_body(gateway, host, authz):
    authz.answer = lambda *_: allowed()
    proxy = gateway(to(host, policies=policy(authz, forwardBody={"maxSize": 1000, "allowPartial": True})))
    body = os.urandom(3_000_000)
    response = proxy.get(method="POST", body=body)
    assert response.json()["length"] == len(body)
    http = authz.requests[0].request.http
    assert (http.raw_body or http.body.encode()) == body[:1000]
    assert http.headers["x-envoy-auth-partial-body"] == "true"


def test_bodies_and_retries_together(gateway, host, authz):
    authz.answer = lambda *_: allowed()
    policies = {**policy(authz, forwardBody={"maxSize": 1000}), "retry": {"attempts": 2, "codes": [503], "backoff": "1ms"}}
    proxy = gateway(to(host, policies=policies))
    response = proxy.get("/?first=2&id=a&status=503", "POST", body=b"again")
    assert response.status == 200 and [seen["length"] for seen in host.seen] == [5, 5, 5]
    assert len(authz.requests) == 1, "one request, one decision"


@pytest.mark.parametrize("fields, status", [({}, 403), ({"statusOnError": 503}, 503), ({"failOpen": True}, 200)])
def test_a_service_that_is_away(gateway, host, ports, fields, status):
    proxy = gateway(to(host, policies=policy(f"127.0.0.1:{ports.free()}", **fields)))
    response = proxy.get()
    assert response.status == status
    if status != 200:
        assert response.text == "authorization failed" and not host.seen
        assert any("ext_authz_error" in line for line in proxy.access_lines(str(status)))


@pytest.mark.parametrize("fields, status", [({}, 403), ({"failOpen": True}, 200)])
def test_a_service_that_fails(gateway, host, authz, fields, status):
    authz.answer = lambda _, context: context.abort(grpc.StatusCode.INTERNAL, "broken")
    assert gateway(to(host, policies=policy(authz, **fields))).get().status == status


@pytest.mark.parametrize("fields, status", [({}, 403), ({"failOpen": True}, 200)])
def test_a_service_that_is_silent(gateway, host, ports, fields, status):
    silent = socket.create_server(("127.0.0.1", ports.free()))
    proxy = gateway(to(host, policies=policy("127.0.0.1:%d" % silent.getsockname()[1], timeout="300ms", **fields)))
    start = time.monotonic()
    assert proxy.get().status == status
    assert 0.25 < time.monotonic() - start < 2
    silent.close()


def test_what_is_no_grpc_service_refuses(gateway, host, backend):
    assert gateway(to(host, policies=policy(backend("other")))).get().status == 403


def test_the_requests_timeout_includes_it(gateway, host, ports):
    silent = socket.create_server(("127.0.0.1", ports.free()))
    policies = {**policy("127.0.0.1:%d" % silent.getsockname()[1]), "timeout": {"requestTimeout": "300ms"}}
    start = time.monotonic()
    assert gateway(to(host, policies=policies)).get().status == 504
    assert time.monotonic() - start < 2
    silent.close()


def test_on_a_listener_and_on_a_route(gateway, host, authz, http_authz):
    route = policy(http_authz, protocol={"http": {}})
    proxy = gateway(to(host, policies=route), policies=policy(authz))
    good = {"x-token": "good", "authorization": "Bearer good"}
    assert proxy.get(headers=good).status == 200
    assert proxy.get(headers={"x-token": "good"}).status == 401 and proxy.get().status == 401
    assert (len(authz.requests), len(http_authz.requests)) == (3, 2)


def test_many_at_once_share_a_connection(gateway, host, authz):
    proxy = gateway(to(host, policies=policy(authz)), config={"workers": 1})
    with Http2(proxy.port) as client:
        streams = [client.send(f"/{n}", headers=[("x-token", "good" if n % 2 else "bad")]) for n in range(60)]
        assert [client.response(stream)[0] for stream in streams] == [401, 200] * 30


def test_by_http(gateway, host, http_authz):
    protocol = {"http": {"path": "/check", "allowedHeaders": ["x-sent"]}}
    proxy = gateway(to(host, policies=policy(http_authz, protocol=protocol)))
    sent = {"host": "shop.test", "authorization": "Bearer good", "x-sent": "1", "x-other": "2", "x-user": "forged"}
    response = proxy.get("/a?b=1", "POST", headers=sent, body=b"body")
    assert response.status == 200 and response.json()["length"] == 4
    headers = headers_of(response.json())
    assert headers["x-user"] == "ada" and headers["x-other"] == "2" and headers["host"] == "shop.test"
    asked = http_authz.requests[0]
    assert (asked["method"], asked["path"], asked["body"]) == ("POST", "/check/a?b=1", b"")
    assert sorted(name.lower() for name in asked["headers"]) == ["authorization", "content-length", "host", "x-sent"]
    assert asked["headers"]["host"] == "shop.test" and asked["headers"]["content-length"] == "0"
    response = proxy.get("/a")
    assert (response.status, response.text) == (401, "who are you?")
    assert response.header("www-authenticate") == "Bearer" and response.header("set-cookie") == "a=1"


def test_by_http_only_200_passes(gateway, host, http_authz):
    protocol = {"http": {"allowedResponseHeaders": ["x-user"]}}
    proxy = gateway(to(host, policies=policy(http_authz, protocol=protocol, forwardBody={"maxSize": 100})))
    answers = {code: proxy.get(f"/?authz={code}") for code in (200, 201, 204, 302, 403, 404, 500)}
    assert {code: answer.status for code, answer in answers.items()} == {200: 200, 201: 403, 204: 403, 302: 302, 403: 403, 404: 404, 500: 403}
    assert answers[302].header("location") == "/login"
    assert len(host.seen) == 1 and "set-cookie" not in headers_of(host.seen[0])
    proxy.get("/?authz=200", "POST", body=b"text")
    assert http_authz.requests[-1]["body"] == b"text"


def test_a_client_that_leaves_meanwhile_harms_nothing(gateway, host, http_authz):
    proxy = gateway(to(host, policies=policy(http_authz, protocol={"http": {}})))
    for _ in range(5):
        with Raw(proxy.port) as raw:
            raw.send("GET /?authz=slow HTTP/1.1\r\nhost: a\r\n\r\n")
            time.sleep(0.05)
    assert proxy.get(headers={"authorization": "Bearer good"}).status == 200


def test_errors_name_the_field(start, ports):
    bad = {"extAuthz": {"host": "127.0.0.1:1", "protocol": {"grpc": {}, "http": {}}}}
    proxy = start(routes(ports.free(), to("127.0.0.1:1", policies=bad)), ready=False)
    assert proxy.wait() != 0
    assert any("extAuthz.protocol" in line for line in proxy.err)


def cached(*key, **fields):
    return {"cache": {"key": list(key), "ttl": "1s", **fields}}


def test_decisions_are_remembered_for_equal_requests(gateway, host, authz):
    proxy = gateway(to(host, policies=policy(authz, **cached('request.headers["x-token"]', "request.path"))), config={"workers": 1})
    for _ in range(3):
        response = proxy.get("/a", headers={"x-token": "good", "x-user": "forged"})
        assert response.status == 200 and headers_of(response.json())["x-user"] == "ada", "with what the service wants"
        assert proxy.get("/a", headers={"x-token": "bad"}).status == 401
    assert len(authz.requests) == 2
    assert proxy.get("/b", headers={"x-token": "bad"}).status == 401
    assert len(authz.requests) == 3, "another path, another decision"
    # Without a value there is no key: asked each time.
    for _ in range(2):
        assert proxy.get("/a").status == 401
    assert len(authz.requests) == 5
    time.sleep(1.1)
    assert proxy.get("/a", headers={"x-token": "good"}).status == 200
    assert len(authz.requests) == 6, "for a while only"


def test_that_a_service_is_away_is_not_remembered(gateway, host, ports):
    port = ports.free()
    proxy = gateway(to(host, policies=policy(f"127.0.0.1:{port}", **cached("request.path"))), config={"workers": 1})
    assert proxy.get(headers={"x-token": "good"}).status == 403
    service = GrpcAuthz(port)
    try:
        assert proxy.get(headers={"x-token": "good"}).status == 200
    finally:
        service.close()


def test_a_service_on_envoys_own_messages(gateway, host, ports):
    """The other services here are gRPC's own; this one is built from what Envoy publishes for Go."""
    service = EnvoyServices(ports)
    try:
        proxy = gateway(to(host, policies=policy(service, forwardBody={"maxSize": 100})))
        headers = [envoy_option("x-user", "ada"), envoy_option("x-more", "1", append=True)]
        service.script(check={"status": {"code": 0}, "ok_response": {"headers": headers, "headers_to_remove": ["x-secret"]}})
        response = proxy.get("/a?b", "POST", headers=[("x-secret", "1"), ("x-more", "0")], body=b"abc")
        sent = headers_of(response.json())
        assert (response.status, sent["x-user"], sent["x-more"], "x-secret" in sent) == (200, "ada", "0, 1", False)
        (asked,) = service.checks
        http = asked["attributes"]["request"]["http"]
        assert (http["method"], http["path"], http["body"], http["size"]) == ("POST", "/a?b", "abc", "3")
        denied_response = {"status": {"code": 451}, "headers": [envoy_option("x-why", "policy")], "body": "not here"}
        service.script(check={"status": {"code": 7}, "denied_response": denied_response})
        response = proxy.get()
        assert (response.status, response.text, response.header("x-why")) == (451, "not here", "policy")
    finally:
        service.close()
