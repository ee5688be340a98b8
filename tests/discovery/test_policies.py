"""TrafficPolicies from manifests to the proxy: what the YAML file has in files is in Secrets and ConfigMaps."""

import base64
import hashlib
import json
import re

import pytest
import yaml

from support import envoy, paths
from support.authz import GrpcAuthz
from support.echo import headers_of
from support.envoy import EnvoyServices
from support.http1 import request
from support.jwks_server import JwksServer
from support.tokens import AUDIENCE, ISSUER, Key, bearer
from support.wait import until

from .conftest import NAME, gateway, obj, policy, route, rule, static

OWN = "gateway.kgateway.dev/v1alpha1"
KEY, OTHER = "sk-team-a-0123456789", "sk-team-b-0123456789"


@pytest.fixture
def world(plane, ports, backend):
    """A gateway with one route to one backend."""
    plane.first, plane.gateway_port = backend("first"), ports.free()
    plane.apply("gateway", gateway(plane.gateway_port))
    plane.apply("first", static("first", plane.first.address))
    plane.apply("route", route("web", rule("first")))
    return plane


def secret(name, **entries):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "stringData": entries}


def on_route(name="p", **fields):
    return policy(name, "HTTPRoute", "web", **fields)


def status(world, path="/", headers=(), method="GET"):
    try:
        return request(world.gateway_port, path, method, headers).status
    except OSError:
        return None


def becomes(world, expected, path="/", headers=(), method="GET"):
    until(lambda: status(world, path, headers, method) == expected, 10, f"{path} to be answered with {expected}, not {status(world, path, headers, method)}")


def test_api_keys_of_secrets(world, proxies):
    world.apply("keys", secret("keys", **{"team-a": KEY, "team-b": json.dumps({"key": OTHER, "metadata": {"tier": "gold"}})}))
    rules = {"policy": {"matchExpressions": ["apiKey.name == 'team-a'", "apiKey.metadata.tier == 'gold'"]}}
    world.apply("policy", on_route(apiKey={"secretRefs": [{"name": "keys"}]}, rbac=rules))
    proxy = proxies(world)
    becomes(world, 401)
    for key in (KEY, OTHER):
        response = request(world.gateway_port, headers={"x-api-key": key})
        assert response.status == 200 and "x-api-key" not in headers_of(response.json())
    # A key is withdrawn, another one is new.
    world.apply("keys", secret("keys", **{"team-a": "sk-renewed-0123456789"}))
    becomes(world, 200, headers={"x-api-key": "sk-renewed-0123456789"})
    assert status(world, headers={"x-api-key": KEY}) == 401
    # Without its Secret nobody passes, and the policy says so.
    world.delete("keys")
    becomes(world, 403, headers={"x-api-key": "sk-renewed-0123456789"})
    world.wait_printed("Secret default/keys does not exist")
    told = json.dumps(proxy.dump()) + "\n".join(proxy.out + proxy.err + world.out + world.err)
    assert all(key not in told for key in (KEY, OTHER, "sk-renewed-0123456789"))


def test_passwords_of_a_secret(world, proxies):
    world.apply("users", secret("users", **{".htpasswd": "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="}))
    world.apply("policy", on_route(basicAuth={"htpasswd": {"secretRef": {"name": "users"}}}))
    proxies(world)
    becomes(world, 401)
    assert status(world, headers={"authorization": "Basic " + base64.b64encode(b"ada:secret").decode()}) == 200


def test_keys_of_issuers(world, proxies, ports):
    key, other = Key("ES256"), Key("ES256", "other")
    server = JwksServer(ports.free(), other)
    try:
        issuer = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "issuer", "namespace": "default"}, "data": {"jwks": json.dumps(key.jwks)}}
        world.apply("issuer", issuer)
        providers = [
            {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"configMapRef": {"name": "issuer"}}},
            {"issuer": "other.example", "jwks": {"url": server.url}},
        ]
        world.apply("policy", on_route(jwtAuth={"providers": providers}))
        proxies(world)
        becomes(world, 401)
        assert status(world, headers=bearer(key.token())) == 200
        assert status(world, headers=bearer(other.token(iss="other.example"))) == 200
        assert status(world, headers=bearer(other.token())) == 401
    finally:
        server.close()


def test_external_authorization_by_an_extension(world, proxies, ports):
    authz = GrpcAuthz(ports.free())
    try:
        world.apply("authz", static("authz", authz.address, appProtocol="grpc"))
        reference = {"group": "gateway.kgateway.dev", "kind": "Backend", "name": "authz"}
        service = {"backendRef": reference, "authority": "authz.example", "requestTimeout": "2s"}
        world.apply("extension", obj(OWN, "GatewayExtension", "asks", {"type": "ExtAuth", "extAuth": {"grpcService": service, "statusOnError": 503}}))
        world.apply("policy", on_route(extAuth={"extensionRef": {"name": "asks"}, "contextExtensions": {"team": "a"}}))
        proxies(world)
        becomes(world, 401)
        response = request(world.gateway_port, headers={"x-token": "good"})
        assert response.status == 200 and headers_of(response.json())["x-user"] == "ada"
        assert dict(authz.requests[-1].context_extensions) == {"team": "a"}
        # The service is away.
        authz.close()
        becomes(world, 503, headers={"x-token": "good"})
        # The extension is no more what it was: nobody passes.
        world.apply("extension", obj(OWN, "GatewayExtension", "asks", {"type": "RateLimit"}))
        becomes(world, 403, headers={"x-token": "good"})
        world.wait_printed("RateLimit, and ExtAuth is needed")
    finally:
        authz.close()


def test_external_processing_by_an_extension(world, proxies, ports):
    processor = EnvoyServices(ports)
    try:
        world.apply("processor", static("processor", processor.address, appProtocol="grpc"))
        reference = {"group": "gateway.kgateway.dev", "kind": "Backend", "name": "processor"}
        config = {
            "grpcService": {"backendRef": reference, "authority": "guard.example"},
            "messageTimeout": "10s",
            "processingMode": {"responseHeaderMode": "SKIP"},
            "requestAttributes": ["request.path"],
            "mutationRules": {"deny": ["x-role"]},
        }
        world.apply("extension", obj(OWN, "GatewayExtension", "guard", {"type": "ExtProc", "extProc": config}))
        world.apply("policy", on_route(extProc={"extensionRef": {"name": "guard"}, "processingMode": {"requestBodyMode": "BUFFERED", "responseHeaderMode": "SKIP"}}))
        mutation = {"set_headers": [envoy.option("x-user", "ada"), envoy.option("x-role", "admin")]}
        processor.script(request_headers=envoy.about("request_headers", {"header_mutation": mutation}), request_body={"upper": True})
        proxies(world)
        until(lambda: "x-user" in headers_of(request(world.gateway_port).json()), what="the policy")
        response = request(world.gateway_port, "/a", "POST", body=b"abc").json()
        assert response["sha256"] == hashlib.sha256(b"ABC").hexdigest() and "x-role" not in headers_of(response)
        # Requests before it had no body.
        whole = lambda: [call for call in processor.calls if call["end"] and "request_body" in envoy.kinds(call)]
        (call,) = until(whole, what="the end of its call")
        assert (call["authority"], envoy.kinds(call)) == ("guard.example", ["request_headers", "request_body"])
        assert call["messages"][0]["attributes"]["envoy.filters.http.ext_proc"] == {"request.path": "/a"}
        world.wait_printed("GatewayExtension default/guard Accepted=True")
        # The processor is away, and then no processor: nobody passes.
        processor.close()
        becomes(world, 500)
        world.apply("extension", obj(OWN, "GatewayExtension", "guard", {"type": "ExtProc"}))
        becomes(world, 403)
        world.wait_printed("spec.extProc: must be set")
    finally:
        processor.close()


def test_fields_of_the_exchange(world, proxies):
    fields = {
        "cors": {"allowOrigins": ["https://example.com"]},
        "headerModifiers": {"request": {"set": [{"name": "x-a", "value": "b"}]}, "response": {"set": [{"name": "x-c", "value": "d"}]}},
        "timeouts": {"request": "500ms"},
        "retry": {"retryOn": ["gateway-error"], "attempts": 2, "backoffBaseInterval": "1ms"},
        "autoHostRewrite": True,
    }
    world.apply("policy", on_route(**fields))
    proxies(world)
    until(lambda: request(world.gateway_port).header("x-c") == "d", what="the policy")
    response = request(world.gateway_port, headers={"origin": "https://example.com", "host": "client.example"})
    assert response.header("access-control-allow-origin") == "https://example.com"
    sent = headers_of(response.json())
    assert (sent["x-a"], sent["host"]) == ("b", world.first.address)
    assert status(world, "/?delay=3") == 504
    assert status(world, "/?status=503&first=2&id=retries") == 200


def test_what_is_done_to_messages(world, proxies):
    fields = {
        "csrf": {"additionalOrigins": [{"exact": "pay.example"}]},
        "buffer": {"maxRequestSize": "1Ki"},
        "transformation": {
            "request": {"set": [{"name": "x-size", "value": "request.body.size()"}], "body": {"parseAs": "AsString"}},
            "response": {"set": [{"name": "x-code", "value": "response.code"}]},
        },
    }
    world.apply("policy", on_route(**fields))
    proxies(world)
    becomes(world, 403, headers={"origin": "https://evil.example"}, method="POST")
    response = request(world.gateway_port, "/", "POST", {"origin": "https://pay.example"}, b"hello")
    assert (response.status, response.header("x-code"), headers_of(response.json())["x-size"]) == (200, "200", "5")
    assert request(world.gateway_port, "/", "POST", {"origin": "https://pay.example"}, bytes(1025)).status == 413
    # Expressions are compiled before a proxy sees them; a policy with one that cannot be refuses all requests.
    world.apply("policy", on_route(transformation={"response": {"set": [{"name": "x-code", "value": "response.cod"}]}}))
    becomes(world, 403)
    world.wait_printed('spec.transformation.response.set.0..value: "response" has no field "cod"')


def test_the_older_policy_counts_and_the_other_says_so(world, proxies):
    def limits(name, timeout, created):
        made = on_route(name, timeouts={"request": timeout})
        made["metadata"]["creationTimestamp"] = created
        return made

    world.apply("older", limits("older", "300ms", "2026-01-01T00:00:00Z"))
    world.apply("younger", limits("younger", "20s", "2026-01-02T00:00:00Z"))
    proxies(world)
    becomes(world, 504, "/?delay=2")
    world.wait_printed("Overridden")
    world.delete("older")
    becomes(world, 200, "/?delay=1")


def test_keys_for_backends(world, proxies):
    world.apply("provider", secret("provider", Authorization="sk-provider", accessKey="AKIDEXAMPLE", secretKey="verysecret"))
    key = {"key": {"value": {"secretRef": {"name": "provider"}}}}
    world.apply("policy", policy("p", "Backend", "first", group="gateway.kgateway.dev", backendAuth=key))
    proxy = proxies(world)
    sent = lambda: headers_of(request(world.gateway_port, headers={"authorization": "Bearer mine"}).json())["authorization"]
    until(lambda: status(world) == 200 and sent() == "Bearer sk-provider", what="the key")
    aws = {"aws": {"region": "eu-west-1", "service": "lambda", "secretRef": {"name": "provider"}}}
    world.apply("policy", policy("p", "Backend", "first", group="gateway.kgateway.dev", backendAuth=aws))
    until(lambda: sent().startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), what="the signature")
    told = json.dumps(proxy.dump()) + "\n".join(proxy.out + proxy.err + world.out + world.err)
    assert "sk-provider" not in told and "verysecret" not in told


def test_filters_that_name_a_policy_or_an_answer(world, proxies):
    def names(kind, name):
        return {"type": "ExtensionRef", "extensionRef": {"group": "gateway.kgateway.dev", "kind": kind, "name": name}}

    def at(path, *filters, **fields):
        return rule("first", matches=[{"path": {"type": "PathPrefix", "value": path}}], filters=list(filters), **fields)

    gone = at("/gone", names("DirectResponse", "gone"))
    del gone["backendRefs"]
    world.apply("response", obj(OWN, "DirectResponse", "gone", {"status": 410, "body": "it is gone"}))
    world.apply("named", obj(OWN, "TrafficPolicy", "named", {"rbac": {"policy": {"matchExpressions": ["request.method == 'POST'"]}}}))
    world.apply("route", route("web", gone, at("/named", names("TrafficPolicy", "named")), at("/nothing", names("TrafficPolicy", "nothing")), rule("first")))
    proxies(world)
    becomes(world, 200)
    assert request(world.gateway_port, "/gone").text == "it is gone"
    assert [status(world, path) for path in ("/gone", "/named", "/nothing", "/other")] == [410, 403, 500, 200]
    assert request(world.gateway_port, "/named", "POST").status == 200
    # The policy goes, or comes: its rule must not be open in between.
    world.delete("named")
    becomes(world, 500, "/named")
    world.apply("nothing", obj(OWN, "TrafficPolicy", "nothing", {"headerModifiers": {"response": {"set": [{"name": "x-a", "value": "b"}]}}}))
    becomes(world, 200, "/nothing")


def test_the_dump_shows_what_counts_on_each_route(world, proxies):
    everywhere = policy("everywhere", "Gateway", NAME, timeouts={"request": "9s"}, rbac={"policy": {"matchExpressions": ["true"]}})
    world.apply("everywhere", everywhere)
    world.apply("here", on_route("here", timeouts={"request": "1s"}, rbac={"policy": {"matchExpressions": ["request.method == 'GET'"]}}))
    world.apply("broken", on_route("broken", apiKey={"secretRefs": [{"name": "none"}]}))
    world.apply("backend", policy("there", "Backend", "first", group="gateway.kgateway.dev", headerModifiers={"request": {"set": [{"name": "x-a", "value": "b"}]}}))
    proxy = proxies(world)
    becomes(world, 403)

    def chains():
        (listener,) = (listener for bind in proxy.dump()["binds"] for listener in bind["listeners"].values())
        (found,) = listener["routes"].values()
        shown = lambda chain: [f"{one['level']}: {one['policy']} from {one['from']}" for one in chain]
        return shown(found["chain"]), shown(found["backends"][0]["chain"])

    expected = [
        "listener: authorization from TrafficPolicy default/everywhere",
        "listener: timeout from TrafficPolicy default/everywhere",
        "route: deny from TrafficPolicy default/broken",
        "route: authorization from TrafficPolicy default/here",
        "route: timeout from TrafficPolicy default/here",
    ]
    assert chains() == (expected, ["backend: requestHeaderModifier from TrafficPolicy default/there"])


def test_what_protects_is_never_overridden(world, proxies):
    """Policies of one target and of several levels must all allow, whoever is older or more specific."""

    def allows(name, kind, target, expression, created, **fields):
        made = policy(name, kind, target, rbac={"policy": {"matchExpressions": [expression]}}, **fields)
        made["metadata"]["creationTimestamp"] = created
        return made

    world.apply("gateway-policy", allows("a", "Gateway", NAME, "'x-a' in request.headers", "2026-01-03T00:00:00Z"))
    world.apply("older", allows("b", "HTTPRoute", "web", "'x-b' in request.headers", "2026-01-01T00:00:00Z"))
    world.apply("younger", allows("c", "HTTPRoute", "web", "'x-c' in request.headers", "2026-01-02T00:00:00Z"))
    world.apply("backend-policy", allows("d", "Backend", "first", "'x-d' in request.headers", "2026-01-04T00:00:00Z", group="gateway.networking.k8s.io"))
    proxies(world)
    every = {f"x-{name}": "1" for name in "abcd"}
    becomes(world, 200, headers=every)
    for lacking in every:
        assert status(world, headers={name: value for name, value in every.items() if name != lacking}) == 403, lacking


PAGES = sorted(page for page in (paths.ROOT / "docs" / "policies").glob("*.md") if "```yaml kubernetes" in page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_the_guide_are_accepted(plane, page):
    """The Gateway `edge`, the HTTPRoute `web` and what its rules name are there; all else is in the example."""
    assert len(PAGES) >= 7
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    web = route("web", rule("provider", name="pages"), rule("provider", name="models"), gateway="edge")
    web["metadata"]["labels"] = {"team": "web"}
    around = [gateway(80, "edge", listeners), web, static("provider", "provider.example:443")]
    services = {"opa": [9191], "guard": [9000], "redis": [6379], "ratelimit": [8081], "collector": [4317, 4318]}
    named = lambda ports: {"ports": [{"name": f"p{port}", "port": port} for port in ports]}
    around += [obj("v1", "Service", name, named(ports)) for name, ports in services.items()]
    example = [each for block in re.findall("```yaml kubernetes\n(.*?)```", page.read_text(), re.DOTALL) for each in yaml.safe_load_all(block)]
    plane.apply("all", *around, *example)
    told = [each for each in example if each["kind"] in ("TrafficPolicy", "GatewayExtension")]
    assert told
    for each in told:
        on = r" on=default/edge\S*" if each["kind"] == "TrafficPolicy" else ""
        plane.wait_printed(f"{each['kind']} default/{each['metadata']['name']}{on} Accepted=True")
    assert not [line for line in plane.err if "there is no such field" in line]
    assert not [line for line in plane.out if "Accepted=False" in line and any(each["metadata"]["name"] in line for each in told)]


# What protects, as it is when it cannot be applied: it refers to nothing, or does not compile.
BROKEN = {
    "jwtAuth": {"issuer": ISSUER, "jwks": {"secretRef": {"name": "nowhere"}}},
    "basicAuth": {"htpasswd": {"secretRef": {"name": "nowhere"}}},
    "apiKey": {"secretRefs": [{"name": "nowhere"}]},
    "extAuth": {"extensionRef": {"name": "nowhere"}},
    "extProc": {"extensionRef": {"name": "nowhere"}},
    "rbac": {"policy": {"matchExpressions": ["request.method =="]}},
    "rateLimit": {"global": {"extensionRef": {"name": "nowhere"}, "buckets": [{"maxTokens": 1, "fillInterval": "1s"}]}},
    "concurrencyLimit": {"maxRequests": 1, "key": ["requst.path"]},
    "requestLimits": {},
    "csrf": {"additionalOrigins": [{"safeRegex": "("}]},
    "buffer": {"maxRequestSize": "0"},
    "transformation": {"request": {"set": [{"name": "x-a", "value": "requst.path"}]}},
    "backendAuth": {"key": {"secretRef": {"name": "nowhere"}}},
}


def test_each_policy_that_protects_denies_when_it_cannot_be_applied(world, proxies):
    """At first apply; as it becomes good nothing else has to change. Routes without it are not touched."""
    for field, broken in BROKEN.items():
        match = {"path": {"type": "PathPrefix", "value": f"/{field}"}}
        world.apply(f"route-{field}", route(field.lower(), rule("first", matches=[match])))
        world.apply(f"policy-{field}", policy(f"p-{field.lower()}", "HTTPRoute", field.lower(), **{field: broken}))
    proxies(world)
    becomes(world, 200)
    for field in BROKEN:
        becomes(world, 403, f"/{field}")
        world.wait_printed(f"TrafficPolicy default/p-{field.lower()} .*all requests are refused")
    assert all(request["path"] == "/" for request in world.first.seen)
    world.apply("policy-rbac", policy("p-rbac", "HTTPRoute", "rbac", rbac={"policy": {"matchExpressions": ["true"]}}))
    becomes(world, 200, "/rbac")
