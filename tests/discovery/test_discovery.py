"""The control plane on a folder and proxies over xDS: changes live, trust, restarts, and policies that fail closed."""

import signal

import pytest

from support.http1 import Client, request
from support.load import Load
from support.mcp_client import Wire
from support.wait import until

from .conftest import NAME, gateway, obj, policy, route, rule, static


def answered(port, path="/", headers=()):
    """Who answered, or the status, or None while nobody listens."""
    try:
        response = request(port, path, headers=headers)
    except OSError:
        return None
    return response.json()["backend"] if response.status == 200 else response.status


def becomes(port, expected, path="/", headers=(), timeout=10):
    until(lambda: answered(port, path, headers) == expected, timeout, f"{path} to be answered by {expected}, not {answered(port, path, headers)}")


@pytest.fixture
def world(plane, ports, backend):
    """A gateway with one route to one backend."""
    first = backend("first")
    port = ports.free()
    plane.apply("gateway", gateway(port))
    plane.apply("first", static("first", first.address))
    plane.apply("route", route("web", rule("first")))
    plane.gateway_port, plane.first = port, first
    return plane


def test_a_proxy_serves_what_the_manifests_say(world, proxies):
    proxy = proxies(world)
    becomes(world.gateway_port, "first")
    dump = proxy.dump()
    (bind,) = dump["binds"]
    assert bind["key"] == f"{world.gateway_port}/default/{NAME}"
    assert f"default/{NAME}.http" in bind["listeners"]
    assert "default/web.0.0.http" in bind["listeners"][f"default/{NAME}.http"]["routes"]


def test_statuses_are_printed(world):
    world.wait_printed("Programmed")
    world.wait_printed("ResolvedRefs")


def test_changes_are_live_without_a_dropped_request(world, proxies, backend):
    proxies(world)
    becomes(world.gateway_port, "first")
    world.apply("second", static("second", backend("second").address))
    with Load(world.gateway_port) as load:
        for name in ("second", "first", "second"):
            load.wait_for(30)
            world.apply("route", route("web", rule(name)))
            becomes(world.gateway_port, name)
    assert load.failures == []
    world.apply("route", route("web", rule("second", matches=[{"path": {"type": "PathPrefix", "value": "/only"}}])))
    becomes(world.gateway_port, 404)
    assert answered(world.gateway_port, "/only") == "second"
    world.delete("route")
    becomes(world.gateway_port, 404, "/only")


def test_listeners_come_and_go(world, proxies, ports):
    proxies(world)
    becomes(world.gateway_port, "first")
    second = ports.free()
    listeners = [{"name": f"l{port}", "port": port, "protocol": "HTTP"} for port in (world.gateway_port, second)]
    world.apply("gateway", gateway(None, listeners=listeners))
    becomes(second, "first")
    world.apply("gateway", gateway(world.gateway_port))
    becomes(second, None)
    assert answered(world.gateway_port) == "first"


def test_an_object_that_cannot_be_used_costs_itself_alone(world, proxies):
    proxies(world)
    becomes(world.gateway_port, "first")
    (world.manifests / "broken.yaml").write_text("kind: [\n")
    world.apply("lost", route("lost", rule("absent", matches=[{"path": {"type": "PathPrefix", "value": "/lost"}}])))
    becomes(world.gateway_port, 500, "/lost")
    assert answered(world.gateway_port) == "first"
    assert "broken.yaml" in "\n".join(world.err + world.out)


def test_two_proxies_of_one_gateway_get_the_same(world, proxies):
    """The second has another address for its listener's sake: SO_REUSEPORT would let both listen."""
    proxy = proxies(world)
    becomes(world.gateway_port, "first")
    second = proxies(world, ready=False)
    second.wait_for("cannot listen")
    until(lambda: second.dump()["generation"] == proxy.dump()["generation"], what="both to have one generation")


# Trust.


def test_a_peer_without_a_valid_token_is_refused(world, proxies, tmp_path):
    wrong = tmp_path / "wrong-token"
    wrong.write_text("0" * 64)
    proxy = proxies(world, ready=False, token=wrong)
    world.wait_for("(?i)refused|unauthenticated")
    until(lambda: proxy.ready_status() == 503, what="the readiness port")
    assert answered(world.gateway_port) is None
    assert proxy.dump()["binds"] == []


def test_the_token_is_its_owners_alone(world):
    assert world.token_file.stat().st_mode & 0o077 == 0
    assert len(world.token_file.read_text().strip()) >= 32
    assert world.token_file.read_text().strip() not in "\n".join(world.err + world.out)


def test_a_gateway_that_is_not_there_gives_nothing(world, proxies):
    proxy = proxies(world, gateway="other", ready=False)
    until(lambda: len(proxy.err) > 3)
    assert "web" not in str(proxy.dump())
    assert answered(world.gateway_port) is None


def test_a_proxy_gets_the_resources_of_its_own_gateway(world, proxies, ports, backend):
    other = ports.free()
    world.apply("other", gateway(other, "other"), static("secret", backend("secret").address), route("secret", rule("secret"), gateway="other"))
    mine, theirs = proxies(world), proxies(world, gateway="other")
    becomes(world.gateway_port, "first")
    becomes(other, "secret")
    assert "secret" not in str(mine.dump()) and "web" not in str(theirs.dump())


def test_discovery_with_manifests_is_on_loopback_alone(controlplane, ports, tmp_path):
    import subprocess

    from support import paths

    (tmp_path / "m").mkdir()
    command = [paths.controlplane(), "--manifests", tmp_path / "m", "--xds-address", "0.0.0.0:1", "--token-file", tmp_path / "t"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert done.returncode != 0 and "loopback" in done.stderr


# Restarts.


def test_a_proxy_serves_on_without_its_control_plane_and_catches_up(world, proxies, controlplane, backend):
    proxy = proxies(world)
    becomes(world.gateway_port, "first")
    with Load(world.gateway_port) as load:
        world.signal(signal.SIGKILL)
        world.wait()
        load.wait_for(50)
        world.apply("second", static("second", backend("second").address))
        world.apply("route", route("web", rule("second")))
        again = controlplane(world.port).wait_ready()
        becomes(world.gateway_port, "second", timeout=15)
    assert load.failures == []
    assert proxy.running and again.running


def test_a_restarted_proxy_starts_from_its_kept_snapshot(world, proxies, tmp_path):
    snapshot = tmp_path / "snapshot"
    proxy = proxies(world, snapshot=snapshot)
    becomes(world.gateway_port, "first")
    until(snapshot.exists, what="the snapshot")
    assert snapshot.stat().st_mode & 0o777 == 0o600
    world.signal(signal.SIGKILL)
    world.wait()
    proxy.signal(signal.SIGKILL)
    proxy.wait()
    again = proxies(world, snapshot=snapshot)
    becomes(world.gateway_port, "first", timeout=5)
    assert again.ready_status() == 200


def test_a_snapshot_of_another_gateway_is_not_used(world, proxies, tmp_path):
    snapshot = tmp_path / "snapshot"
    proxy = proxies(world, snapshot=snapshot)
    becomes(world.gateway_port, "first")
    until(snapshot.exists, what="the snapshot")
    world.signal(signal.SIGKILL)
    world.wait()
    proxy.close()
    other = proxies(world, gateway="other", snapshot=snapshot, ready=False)
    other.wait_for("(?i)snapshot")
    until(lambda: other.ready_status() == 503, what="the readiness port")
    assert answered(world.gateway_port) is None


def test_a_new_proxy_without_a_control_plane_stays_not_ready(world, proxies, tmp_path):
    world.signal(signal.SIGKILL)
    world.wait()
    proxy = proxies(world, snapshot=tmp_path / "none", ready=False)
    proxy.wait_for("(?i)control plane|discovery|connect")
    until(lambda: proxy.ready_status() == 503, what="the readiness port")
    assert answered(world.gateway_port) is None


def test_a_proxy_that_comes_first_waits_for_its_control_plane(controlplane, proxies, ports, backend):
    plane = controlplane().wait_ready()
    port = ports.free()
    proxy = proxies(plane, ready=False)
    plane.apply("all", gateway(port), static("first", backend("first").address), route("web", rule("first")))
    becomes(port, "first")
    assert proxy.ready_status() == 200


# Policies fail closed, and fail as a function of today's inputs only.

BROKEN = {"policy": {"matchExpressions": ["request.path =="]}}
GOOD = {"policy": {"matchExpressions": ["request.path.startsWith('/open')"]}}


def test_a_policy_that_is_broken_at_first_denies(world, proxies):
    world.apply("policy", policy("guard", "HTTPRoute", "web", rbac=BROKEN))
    proxies(world)
    becomes(world.gateway_port, 403)
    assert answered(world.gateway_port, "/open") == 403
    assert world.first.seen == []
    world.wait_printed("guard")


def test_a_policy_that_was_good_and_is_broken_denies(world, proxies):
    world.apply("policy", policy("guard", "HTTPRoute", "web", rbac=GOOD))
    proxies(world)
    becomes(world.gateway_port, "first", "/open")
    assert answered(world.gateway_port, "/else") == 403
    world.apply("policy", policy("guard", "HTTPRoute", "web", rbac=BROKEN))
    becomes(world.gateway_port, 403, "/open")
    world.apply("policy", policy("guard", "HTTPRoute", "web", rbac=GOOD))
    becomes(world.gateway_port, "first", "/open")


def test_a_broken_policy_denies_after_a_restart_of_the_proxy(world, proxies, tmp_path):
    snapshot = tmp_path / "snapshot"
    world.apply("policy", policy("guard", "HTTPRoute", "web", rbac=GOOD))
    proxy = proxies(world, snapshot=snapshot)
    becomes(world.gateway_port, "first", "/open")
    world.apply("policy", policy("guard", "HTTPRoute", "web", rbac=BROKEN))
    becomes(world.gateway_port, 403, "/open")
    until(lambda: b"request.path.startsWith" not in snapshot.read_bytes(), what="the snapshot to be that of today")
    seen = len(world.first.seen)
    proxy.signal(signal.SIGKILL)
    proxy.wait()
    # Once with the control plane, once from the snapshot alone.
    again = proxies(world, snapshot=snapshot)
    becomes(world.gateway_port, 403, "/open")
    again.signal(signal.SIGKILL)
    again.wait()
    world.signal(signal.SIGKILL)
    world.wait()
    proxies(world, snapshot=snapshot)
    becomes(world.gateway_port, 403, "/open")
    assert len(world.first.seen) == seen


def test_a_policy_that_goes_is_gone(world, proxies):
    world.apply("policy", policy("guard", "Gateway", NAME, rbac={"policy": {"matchExpressions": ["false"]}}))
    proxies(world)
    becomes(world.gateway_port, 403)
    world.delete("policy")
    becomes(world.gateway_port, "first")


# Policies and filters by Gateway API.


def test_cors_by_filter(world, proxies):
    cors = {"allowOrigins": ["https://app.example"], "allowMethods": ["GET", "PUT"], "allowHeaders": ["x-a"], "maxAge": 60}
    world.apply("route", route("web", rule("first", filters=[{"type": "CORS", "cors": cors}])))
    proxies(world)
    becomes(world.gateway_port, "first")
    preflight = [("origin", "https://app.example"), ("access-control-request-method", "PUT")]
    answer = request(world.gateway_port, "/", "OPTIONS", preflight)
    assert answer.header("access-control-allow-origin") == "https://app.example"
    assert answer.header("access-control-allow-methods") == "GET, PUT"
    assert request(world.gateway_port, "/", "OPTIONS", [("origin", "https://evil.example"), preflight[1]]).header("access-control-allow-origin") is None
    simple = request(world.gateway_port, headers=[("origin", "https://app.example")])
    assert simple.header("access-control-allow-origin") == "https://app.example"


@pytest.mark.parametrize(("kind", "name"), [("HTTPRoute", "web"), ("Gateway", NAME)])
def test_rate_limit_by_policy(world, proxies, kind, name):
    bucket = {"maxTokens": 3, "tokensPerFill": 1, "fillInterval": "3600s"}
    world.apply("policy", policy("limit", kind, name, rateLimit={"local": {"tokenBucket": bucket}}))
    proxy = proxies(world)
    until(lambda: "limit" in str(proxy.dump()["policies"]) or "localRateLimit" in str(proxy.dump()), what="the policy")
    until(lambda: answered(world.gateway_port) is not None)
    statuses = [request(world.gateway_port).status for _ in range(6)]
    assert statuses.count(429) >= 3 and statuses[-1] == 429
    assert request(world.gateway_port).header("retry-after")
    # A change elsewhere fills no bucket.
    world.apply("route", route("web", rule("first"), rule("first", matches=[{"path": {"type": "Exact", "value": "/x"}}])))
    until(lambda: "/x" in str(proxy.dump()))
    assert request(world.gateway_port).status == 429


def test_header_filters_rewrite_and_redirect(world, proxies):
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-set", "value": "1"}]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-out", "value": "2"}]}},
        {"type": "URLRewrite", "urlRewrite": {"hostname": "inner.test", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"}}},
    ]
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "hostname": "new.test", "statusCode": 301}}
    prefix = [{"path": {"type": "PathPrefix", "value": "/api"}}]
    old = [{"path": {"type": "PathPrefix", "value": "/old"}}]
    world.apply("route", route("web", rule("first", matches=prefix, filters=filters), {"matches": old, "filters": [redirect]}))
    proxies(world)
    becomes(world.gateway_port, "first", "/api")
    response = request(world.gateway_port, "/api/x?q=1")
    headers = dict(response.json()["headers"])
    assert response.json()["target"] == "/v2/x?q=1"
    assert (headers["x-set"], headers["host"], response.header("x-out")) == ("1", "inner.test", "2")
    moved = request(world.gateway_port, "/old/x")
    assert (moved.status, moved.header("location")) == (301, "https://new.test/old/x")


def test_timeouts_retries_mirrors_and_sessions_of_a_rule(world, proxies, backend):
    copy = backend("copy")
    world.apply("copy", static("copy", copy.address))
    first = {
        "timeouts": {"request": "500ms"},
        "retry": {"attempts": 2, "codes": [503], "backoff": "1ms"},
        "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": rule("copy")["backendRefs"][0]}}],
        "sessionPersistence": {"sessionName": "cart"},
    }
    world.apply("route", route("web", rule("first", **first)))
    proxies(world)
    becomes(world.gateway_port, "first")
    assert request(world.gateway_port, "/?delay=2").status == 504
    assert request(world.gateway_port, "/?first=2&id=a&status=503").status == 200
    assert request(world.gateway_port, "/?first=3&id=b&status=503").status == 503
    response = request(world.gateway_port, "/mirrored", "POST", body=b"body")
    assert response.header("set-cookie").startswith("cart=")
    seen = until(lambda: [r for r in copy.seen if r["path"] == "/mirrored"], what="the copy")
    assert [r["length"] for r in seen] == [4]


def test_external_authorization_by_filter(world, proxies, ports):
    from support.authz import HttpAuthz

    authz = HttpAuthz(ports.free())
    try:
        world.apply("authz", static("authz", authz.address))
        reference = rule("authz")["backendRefs"][0]
        auth = {"protocol": "HTTP", "backendRef": reference, "http": {"path": "/check", "allowedResponseHeaders": ["x-user"]}}
        world.apply("route", route("web", rule("first", filters=[{"type": "ExternalAuth", "externalAuth": auth}])))
        proxies(world)
        until(lambda: answered(world.gateway_port, headers=[("authorization", "Bearer good")]) == "first", what="the route")
        # Until the filter comes the route answers everybody.
        until(lambda: request(world.gateway_port).status == 401, what="the filter")
        response = request(world.gateway_port, "/a", headers=[("authorization", "Bearer good"), ("x-user", "forged")])
        assert dict(response.json()["headers"])["x-user"] == "ada" and authz.requests[-1]["path"] == "/check/a"
        # Its backend goes: nobody may decide, so nobody passes.
        world.delete("authz")
        until(lambda: request(world.gateway_port, headers=[("authorization", "Bearer good")]).status in (403, 500), what="a refusal")
    finally:
        authz.close()


def test_weights(world, proxies, backend):
    world.apply("second", static("second", backend("second").address))
    shares = [{**rule(name)["backendRefs"][0], "weight": weight} for name, weight in (("first", 1), ("second", 3))]
    world.apply("route", route("web", {"backendRefs": shares}))
    proxies(world)
    until(lambda: answered(world.gateway_port) == "second")
    with Client(world.gateway_port) as client:
        names = [client.request().json()["backend"] for _ in range(800)]
    assert 140 <= names.count("first") <= 260


def test_http2_to_the_backend(world, proxies, loop, ports):
    """A server that speaks HTTP/2 alone, without TLS."""
    from support.http2_server import Http2Server

    server = Http2Server(ports.free())
    try:
        world.apply("first", static("first", f"127.0.0.1:{server.port}", appProtocol="kubernetes.io/h2c"))
        proxies(world)
        until(lambda: answered_text(world.gateway_port) == "HTTP/2 /hello?x=1 any.test", what="an answer over HTTP/2")
        for _ in range(20):
            assert answered_text(world.gateway_port) == "HTTP/2 /hello?x=1 any.test"
        assert server.accepted <= 2, "one connection per worker carries them all"
        big = request(world.gateway_port, "/big", "POST", body=b"x" * 200_000)
        assert big.status == 200 and big.text.endswith(" 200000")
    finally:
        server.close()


def answered_text(port):
    try:
        return request(port, "/hello?x=1", headers=[("host", "any.test")]).text
    except OSError:
        return None


# MCP by Backend and policy.


def test_mcp_backend_and_rbac(world, proxies, mcp_target):
    name, port = mcp_target
    targets = [{"name": "mcp-target", "static": {"host": "127.0.0.1", "port": port, "protocol": "StreamableHTTP"}}]
    world.apply("mcp", obj("gateway.kgateway.dev/v1alpha1", "Backend", "tools", {"type": "MCP", "mcp": {"targets": targets}}))
    world.apply("route", route("web", rule("tools")))
    proxies(world)
    until(lambda: answered(world.gateway_port) not in (None, "first", 404), what="the MCP backend")
    with Wire(world.gateway_port, path="/") as client:
        client.initialize()

        def tools():
            return {tool["name"] for tool in client.request("tools/list")["result"]["tools"]}

        assert {"search_code", "delete_repository"} <= tools()
        rbac = {"policy": {"matchExpressions": ['mcp.tool.name in ["search_code"]']}}
        # The book writes this group for a Backend.
        world.apply("policy", policy("rbac", "Backend", "tools", rbac=rbac))
        until(lambda: tools() == {"search_code"}, what="the list to shrink")
        assert "error" in client.call("delete_repository")
        assert client.call("search_code", query="x")["result"]["content"][0]["text"] == f"{name} found x"
        world.apply("policy", policy("rbac", "Backend", "tools", rbac=BROKEN))
        until(lambda: answered_list(client) in (set(), 403), what="a broken policy to deny")
        world.delete("policy")
        until(lambda: isinstance(answered_list(client), set) and "delete_repository" in answered_list(client), what="the list to be whole again")


def answered_list(client):
    response = client.post({"jsonrpc": "2.0", "id": 99, "method": "tools/list"})
    if response.status != 200:
        return response.status
    from support.mcp_client import messages

    (message,) = [m for m in messages(response) if m.get("id") == 99]
    return {tool["name"] for tool in message.get("result", {}).get("tools", [])}


@pytest.fixture
def mcp_target(ports):
    import socket
    import sys

    from support import paths
    from support.process import Process
    from support.proxy import clean_environment

    port = ports.free()
    server = Process([sys.executable, paths.TESTS / "support" / "mcp_server.py", "github", port], env=clean_environment())

    def listens():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    until(listens, timeout=30, what="the MCP server", interval=0.05)
    yield "github", port
    server.close()
