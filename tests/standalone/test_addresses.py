"""Which addresses backends and listeners may have."""

import pytest

from support.http1 import request
from support.proxy import document, routes, to


def own_ports(proxy):
    return {"admin": proxy.admin, "metrics": proxy.metrics_port, "readiness": proxy.readiness}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1.2.3"])
@pytest.mark.parametrize("port", ["admin", "metrics", "readiness"])
def test_own_ports_are_refused_as_backends(gateway, backend, host, port):
    """It would publish them; a name that leads there is refused like the address."""
    proxy = gateway(to(backend("other")))
    number = own_ports(proxy)[port]
    proxy.reload(routes(proxy.port, to(f"{host}:{number}")))
    for path in ("/config_dump", "/metrics", "/healthz/ready"):
        response = proxy.get(path)
        assert response.status == 500, response.text
        assert "binds" not in response.text and "ready" not in response.text
    assert "address_refused" in proxy.access_lines("path=/metrics")[0]


def test_own_ports_are_refused_as_mcp_targets(gateway, backend):
    proxy = gateway(to(backend("other")))
    target = {"name": "self", "mcp": {"host": "127.0.0.1", "port": proxy.admin, "path": "/config_dump"}}
    proxy.reload(routes(proxy.port, to({"mcp": {"targets": [target]}})))
    initialize = (
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        b'"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'
    )
    headers = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")]
    response = proxy.get("/", method="POST", headers=headers, body=initialize)
    assert "error" in response.json() and "port of the gateway itself" in response.text


def test_loopback_is_allowed_with_a_file_unless_forbidden(gateway, backend):
    host = backend()
    assert gateway(to(host)).get().status == 200
    for address in (host.address, f"localhost:{host.port}", f"0.0.0.0:{host.port}", f"[::1]:{host.port}"):
        for how in ({"config": {"allowLoopbackBackends": False}}, {"arguments": ["--allow-loopback-backends", "false"]}):
            forbidden = gateway(to(address), **how)
            forbidden.wait_for(r"WARN.*backends\[0\].host: .*loopback")
            assert forbidden.get().status == 500
            assert "reason=address_refused" in forbidden.access_lines("status=500")[0]
    assert len(host.seen) == 1
    assert gateway(to(host), config={"allowLoopbackBackends": False}, arguments=["--allow-loopback-backends", "true"]).get().status == 200


@pytest.mark.root
def test_a_name_that_leads_to_loopback_is_refused_when_it_is_dialled(gateway, backend, named):
    host = backend()
    proxy = gateway(to(f"innocent.test:{host.port}"), config={"allowLoopbackBackends": False}, prefix=named(innocent=["127.0.0.1"]))
    assert proxy.get().status == 500
    assert "address_refused" in proxy.access_lines("path=/")[0]
    assert host.seen == []


@pytest.mark.root
def test_a_name_that_leads_to_link_local_is_refused_when_it_is_dialled(gateway, named):
    proxy = gateway(to("metadata.test:80"), prefix=named(metadata=["169.254.169.254"]))
    assert proxy.get().status == 500
    assert "address_refused" in proxy.access_lines("path=/")[0]


def test_link_local_is_refused_unless_allowed(gateway):
    """Clouds serve their credentials there."""
    for address in ("169.254.169.254:80", "[fe80::1]:80", "[::ffff:169.254.169.254]:80"):
        refused = gateway(to(address))
        refused.wait_for(r"WARN.*backends\[0\].host: .*link-local")
        assert refused.get().status == 500
        assert "reason=address_refused" in refused.access_lines("status=500")[0]


@pytest.mark.root
def test_link_local_can_be_allowed(gateway, backend):
    """In a network namespace of its own, where such an address is on the loopback interface."""
    inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && ip addr add 169.254.7.7/32 dev lo && exec "$0" "$@"']
    proxy = gateway(to("169.254.7.7:1"), arguments=["--allow-link-local-backends", "true"], prefix=inside, ready=False)
    proxy.wait_for("configuration loaded")
    status = run_inside(proxy, proxy.port)
    assert status == 503, "the address is tried; nobody listens there"


def run_inside(proxy, port):
    import subprocess

    script = (
        "import http.client; c = http.client.HTTPConnection('127.0.0.1', %d, timeout=10); c.request('GET', '/'); "
        "print(c.getresponse().status)" % port
    )
    done = subprocess.run(
        ["nsenter", "--net", "--target", str(proxy.pid), "python3", "-c", script], capture_output=True, text=True, timeout=20
    )
    return int(done.stdout or 0)


@pytest.mark.parametrize("port", ["admin", "metrics", "readiness"])
def test_a_listener_on_an_own_port_is_refused(gateway, backend, port):
    proxy = gateway(to(backend("old")))
    first, number = proxy.port, own_ports(proxy)[port]
    binds = [{"port": p, "listeners": [{"routes": [to(backend("new"))]}]} for p in (first, number)]
    proxy.reload(document(binds))
    proxy.wait_for(f"127.0.0.1:{number}.*port of the proxy itself")
    assert proxy.get(port=first).json()["backend"] == "new", "the other bind is served"
    assert request(number, "/").headers and "backend" not in request(number, "/").text


def test_a_listener_on_an_own_port_starts_nothing(start, ports, backend):
    port = ports.free()
    proxy = start(routes(port, to(backend())), "--admin-addr", f"127.0.0.1:{port}", ready=False)
    assert proxy.wait() != 0
