"""The ports of the process itself: admin, metrics, readiness."""

import json

import pytest

from support.http1 import request
from support.proxy import document, routes, to
from support.tokens import ISSUER, Key

SECRET = "do-not-show-me"


def test_config_dump_has_the_form_that_users_know(gateway, backend):
    host = backend()
    proxy = gateway(to(host, name="web", matches=[{"path": {"pathPrefix": "/a"}, "method": "GET"}]))
    dump = proxy.dump()
    (bind,) = dump["binds"]
    assert bind["key"] == f"{proxy.port}/default/default" and bind["address"] == f"127.0.0.1:{proxy.port}"
    ((key, listener),) = bind["listeners"].items()
    assert key == listener["key"] == "default/default.listener0"
    assert (listener["gatewayName"], listener["protocol"], listener["hostname"], listener["tcpRoutes"]) == ("default/default", "HTTP", "", {})
    ((key, route),) = listener["routes"].items()
    assert key == route["key"] == "default/web.0.0.listener0"
    assert route["routeName"] == "default/web"
    assert route["matches"] == [{"path": {"pathPrefix": "/a"}, "method": "GET"}]
    ((share,), (target,)) = route["backends"], dump["backends"]
    assert share["weight"] == 1 and share["backend"] == target["host"]["name"]
    assert target["host"]["target"] == host.address


def test_config_dump_follows_a_reload(gateway, backend):
    proxy = gateway(to(backend(), name="old"))
    first = proxy.dump()
    proxy.reload(routes(proxy.port, to(backend(), name="new")))
    second = proxy.dump()
    assert "default/new.0.0.listener0" in json.dumps(second) and "default/old." not in json.dumps(second)
    assert first["generation"] != second["generation"]


def test_config_dump_shows_no_secret(gateway, backend):
    header = [{"name": "x-api-key", "value": SECRET}]
    modifier = {"set": header, "add": header}
    stdio = {"cmd": "server", "args": ["--token", SECRET], "env": {"TOKEN": SECRET}}
    key = Key("ES256")
    proxy = gateway(
        to(
            {"host": backend().address, "policies": {"requestHeaderModifier": modifier}},
            policies={
                "requestHeaderModifier": modifier,
                "responseHeaderModifier": modifier,
                "jwtAuth": {"issuer": ISSUER, "jwks": {"inline": json.dumps(key.jwks)}},
            },
        ),
        to({"mcp": {"targets": [{"name": "server", "stdio": stdio}]}}, matches=[{"path": {"exact": "/mcp"}}]),
        policies={"responseHeaderModifier": modifier},
    )
    text = json.dumps(proxy.dump())
    assert "x-api-key" in text and '"cmd": "server"' in text and ISSUER in text
    assert SECRET not in text
    assert SECRET not in "\n".join(proxy.err)


def test_admin_is_on_loopback_by_default_and_only_reads(gateway, backend):
    proxy = gateway(to(backend()))
    for method in ("POST", "PUT", "DELETE"):
        assert request(proxy.admin, "/config_dump", method=method).status == 405
    assert request(proxy.admin, "/else").status == 404
    assert request(proxy.metrics_port, "/config_dump").status == 404, "each port shows its own"
    assert request(proxy.readiness, "/config_dump").status == 404


def test_readiness_and_liveness(gateway, backend):
    proxy = gateway(to(backend()))
    assert request(proxy.readiness, "/healthz/ready").status == 200
    assert request(proxy.readiness, "/healthz/live").status == 200


def test_requests_are_counted_by_route_and_status(gateway, backend):
    proxy = gateway(to(backend(), name="web", matches=[{"path": {"pathPrefix": "/a"}}]))
    for path in ("/a", "/a?status=404", "/a?status=404", "/none"):
        proxy.get(path)
    counted = {
        (route, status): proxy.metric("agentgateway_requests_total", route=route, status=status, listener="listener0")
        for route, status in (("default/web.0.0.listener0", 200), ("default/web.0.0.listener0", 404), ("", 404))
    }
    assert list(counted.values()) == [1, 2, 1]
    assert proxy.metric("agentgateway_request_duration_seconds_count") == 4
    assert proxy.metric("agentgateway_downstream_accepted_total") == 4
    assert proxy.metrics().rstrip().endswith("# EOF")


def test_a_reload_keeps_the_counts_of_what_stays(gateway, backend):
    host = backend()
    proxy = gateway(to(host, name="stays"), to(host, name="goes", matches=[{"path": {"exact": "/goes"}}]))
    for path in ("/", "/", "/goes"):
        assert proxy.get(path).status == 200
    proxy.reload(routes(proxy.port, to(host, name="stays")))
    assert proxy.get("/").status == 200
    assert proxy.metric("agentgateway_requests_total", route="default/stays.0.0.listener0", status="200") == 3
    assert "default/goes" not in proxy.metrics(), "what is gone is not shown for ever"


# Access log and logs.


def one_request(proxy):
    host = [("host", "web.test"), ("authorization", f"Bearer {SECRET}"), ("x-api-key", SECRET)]
    assert proxy.get(f"/path?token={SECRET}", headers=host).status == 200


def test_access_log_as_text(gateway, backend):
    host = backend()
    proxy = gateway(to(host, name="web"))
    one_request(proxy)
    (line,) = proxy.access_lines("path=/path")
    for part in (
        "listener=default/default.listener0",
        "route=default/web.0.0.listener0",
        "source=127.0.0.1:",
        "method=GET",
        "host=web.test",
        "version=HTTP/1.1",
        "status=200",
        "duration_ms=",
        "bytes=",
        f"endpoint={host.address}",
    ):
        assert f" {part}" in line, line
    assert SECRET not in "\n".join(proxy.out + proxy.err)


def test_access_log_as_json(gateway, backend):
    host = backend()
    proxy = gateway(to(host, name="web"), config={"logging": {"format": "json"}})
    one_request(proxy)
    (line,) = proxy.access_lines('"/path"')
    entry = json.loads(line)
    assert entry["route"] == "default/web.0.0.listener0" and entry["endpoint"] == host.address
    assert (entry["method"], entry["host"], entry["path"], entry["status"]) == ("GET", "web.test", "/path", 200)
    assert entry["bytes"] > 0 and entry["duration_ms"] > 0
    assert SECRET not in "\n".join(proxy.out + proxy.err)
    assert all(json.loads(line) for line in proxy.err), "the program's own log too"


def test_access_log_says_why_the_proxy_answered_itself(gateway, backend, ports):
    proxy = gateway(
        to(backend(), matches=[{"path": {"exact": "/denied"}}], policies={"authorization": {"rules": [{"deny": "true"}]}}),
        to(f"127.0.0.1:{ports.free()}", matches=[{"path": {"exact": "/down"}}]),
    )
    for path in ("/denied", "/down", "/none"):
        proxy.get(path)
    assert "reason=" in proxy.access_lines("path=/denied .*status=403")[0]
    assert "reason=connect_failure" in proxy.access_lines("path=/down .*status=503")[0]
    assert 'reason="no route matches"' in proxy.access_lines("path=/none .*status=404")[0]


@pytest.mark.parametrize("off", [{"config": {"accessLog": False}}, {"arguments": ["--access-log", "false"]}], ids=["file", "flag"])
def test_access_log_off(gateway, backend, off):
    proxy = gateway(to(backend()), **off)
    for _ in range(3):
        assert proxy.get().status == 200
    proxy.terminate()
    assert proxy.wait() == 0
    assert proxy.out == []


def test_the_last_lines_are_written_before_the_end(gateway, backend):
    proxy = gateway(to(backend()))
    for number in range(50):
        proxy.get(f"/{number}")
    proxy.terminate()
    assert proxy.wait() == 0
    assert len(proxy.out) == 50


def test_a_path_cannot_forge_a_line(gateway, backend):
    proxy = gateway(to(backend()))
    proxy.get('/x"%20status=500%0a', headers=[("host", "a b=c")])
    proxy.get("/y")
    proxy.access_lines("path=/y")
    assert len(proxy.out) == 2


def test_log_level(gateway, backend):
    quiet = gateway(to(backend()), config={"logging": {"level": "error"}})
    assert quiet.err == []


def test_a_reader_who_stops_costs_lines_and_not_requests(gateway, backend):
    """Nothing is read from standard output by way of a shell that sleeps."""
    proxy = gateway(to(backend()), prefix=["sh", "-c", 'exec "$0" "$@" | sleep 30'])
    path = "/" + "x" * 1000
    for _ in range(300):
        assert proxy.get(path).status == 200
