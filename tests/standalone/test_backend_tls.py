"""TLS to backends: what is sent, what is checked, and that nothing goes out in plaintext."""

import json

import pytest

from support.certificates import Authority
from support.http2_server import Http2Server
from support.proxy import routes, to


def tls(backend, **settings) -> dict:
    return {"host": backend if isinstance(backend, str) else backend.address, "policies": {"backendTLS": settings}}


@pytest.fixture
def trusting(authority):
    """Settings that trust the authority."""

    def make(hostname="s.example", **settings):
        return {"hostname": hostname, "root": str(authority.file), **settings}

    return make


@pytest.fixture
def encrypted(backend, authority):
    """A backend with TLS."""

    def make(*names, uris=(), **options):
        own = authority.issue(*(names or ["s.example"]), uris=uris, **options.pop("issue", {}))
        return backend(options.pop("name", "backend"), context=authority.server(own, **options))

    return make


def test_requests_are_encrypted_and_the_name_is_sent(gateway, encrypted, trusting):
    host = encrypted()
    proxy = gateway(to(tls(host, **trusting())), config={"workers": 1})
    answers = [proxy.get(f"/{n}", method="POST", body=b"x" * 10_000).json() for n in range(5)]
    assert {a["connection"] for a in answers} == {1} and {a["length"] for a in answers} == {10_000}
    assert host.server_names == ["s.example"]


@pytest.mark.parametrize(
    ("names", "uris", "settings", "status"),
    [
        (["s.example"], [], {}, 200),
        (["*.s.example"], [], {"hostname": "a.s.example"}, 200),
        (["other.example"], [], {}, 502),
        (["s.example"], [], {"subjectAltNames": ["other.example"]}, 502),
        (["other.example"], [], {"subjectAltNames": ["first.example", "other.example"]}, 200),
        (["a.other.example"], [], {"subjectAltNames": ["*.other.example"]}, 200),
        (["s.example"], ["spiffe://td/a"], {"subjectAltNames": ["spiffe://td/a"]}, 200),
        (["s.example"], ["spiffe://td/a"], {"subjectAltNames": ["spiffe://td/b"]}, 502),
        (["127.0.0.1"], [], {"hostname": "127.0.0.1"}, 200),
        (["s.example"], [], {"hostname": "127.0.0.1"}, 502),
    ],
)
def test_the_name_in_the_certificate_is_checked(gateway, encrypted, trusting, names, uris, settings, status):
    host = encrypted(*names, uris=uris)
    proxy = gateway(to(tls(host, **trusting(**settings))))
    assert proxy.get().status == status
    if status != 200:
        assert host.seen == [] and "reason=upstream_tls_failure" in proxy.access_lines("status=502")[0]


def test_the_hosts_own_name_is_the_default(gateway, encrypted, authority):
    host = encrypted("localhost")
    proxy = gateway(to(tls(f"localhost:{host.port}", root=str(authority.file))))
    assert proxy.get().status == 200
    assert host.server_names == ["localhost"]


def test_only_known_authorities_and_valid_certificates_are_trusted(gateway, encrypted, trusting, tmp_path):
    stranger = Authority(tmp_path, "stranger")
    assert gateway(to(tls(encrypted(), **trusting(root=str(stranger.file))))).get().status == 502
    assert gateway(to(tls(encrypted(), hostname="s.example"))).get().status == 502, "the machine does not know it"
    assert gateway(to(tls(encrypted(issue={"expired": True}), **trusting()))).get().status == 502


def test_authorities_of_the_machine(gateway, encrypted, authority):
    proxy = gateway(to(tls(encrypted(), hostname="s.example")), env={"SSL_CERT_FILE": str(authority.file), "SSL_CERT_DIR": ""})
    assert proxy.get().status == 200


def test_a_client_certificate_is_shown(gateway, encrypted, trusting, authority):
    own = authority.issue("gateway.example", common="gateway")
    asking = [encrypted(ask_clients=True) for _ in range(2)]
    assert gateway(to(tls(asking[0], **trusting()))).get().status == 502
    answer = gateway(to(tls(asking[1], **trusting(**own.files)))).get()
    assert answer.json()["client_certificate"]["subject"] == [[["commonName", "gateway"]]]


def test_a_backend_without_tls_gets_nothing(gateway, backend, trusting):
    host = backend()
    assert gateway(to(tls(host, **trusting()))).get().status == 502
    assert host.seen == []


def test_the_backend_chooses_the_version(gateway, encrypted, trusting, ports, authority):
    first = encrypted(alpn=["http/1.1"])
    second = Http2Server(ports.free(), authority.server(authority.issue("s.example"), alpn=["h2"]))
    neither = encrypted(name="neither")
    try:
        proxy = gateway(
            to(tls(first, **trusting()), matches=[{"path": {"exact": "/1"}}]),
            to(tls(f"127.0.0.1:{second.port}", **trusting()), matches=[{"path": {"pathPrefix": "/2"}}]),
            to(tls(neither, **trusting())),
            config={"workers": 1},
        )
        assert proxy.get("/1").json()["version"] == "1.1"
        assert proxy.get("/").json()["version"] == "1.1"
        for n in range(5):
            answer = proxy.get(f"/2/{n}", method="POST", body=b"abc", headers=[("host", "h.test")])
            assert (answer.status, answer.text) == (200, f"HTTP/2 /2/{n} h.test 3")
        assert second.accepted == 1, "one connection for all"
    finally:
        second.close()


def test_changed_settings_never_use_an_old_connection(gateway, encrypted, trusting):
    host = encrypted("s.example", "t.example")
    proxy = gateway(to(tls(host, **trusting())), config={"workers": 1})

    def number():
        return proxy.get().json()["connection"]

    assert [number(), number()] == [1, 1]

    def reload(backend):
        proxy.reload(routes(proxy.port, to(backend), config={"workers": 1}))

    reload(tls(host, **trusting("t.example")))
    assert [number(), number()] == [2, 2]
    reload(tls(host, **trusting("u.example")))
    assert proxy.get().status == 502
    reload(host.address)
    assert proxy.get().status == 502, "in plaintext it does not understand us"
    reload(tls(host, **trusting()))
    assert number() in (1, 4), "the first one is as good as a new one"
    assert host.server_names[:2] == ["s.example", "t.example"]


def test_renewed_files_are_used(gateway, encrypted, trusting, authority, tmp_path):
    """As a ConfigMap or Secret changes: the files, and not the configuration."""
    root = tmp_path / "root.pem"
    root.write_bytes(Authority(tmp_path, "stranger").pem)
    proxy = gateway(to(tls(encrypted(), **trusting(root=str(root)))))
    assert proxy.get().status == 502
    seen = len(proxy.err)
    root.write_bytes(authority.pem)
    proxy.wait_for("configuration loaded", since=seen)
    assert proxy.get().status == 200


def test_an_mcp_target_over_tls(gateway, encrypted, trusting):
    """The first message of a session reaches the server over TLS; what it answers here is no MCP."""
    host = encrypted()
    target = {"name": "one", "mcp": {"host": "127.0.0.1", "port": host.port}, "policies": {"backendTLS": trusting()}}
    proxy = gateway(to({"mcp": {"targets": [target]}}))
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]
    proxy.get("/mcp", method="POST", headers=headers, body=json.dumps(hello).encode())
    assert host.server_names[0] == "s.example"
    assert [r["path"] for r in host.seen][:1] == ["/mcp"]


def test_the_dump_tells_how_a_backend_is_reached(gateway, encrypted, trusting, authority):
    own = authority.issue("gateway.example")
    proxy = gateway(to(tls(encrypted(), **trusting(subjectAltNames=["spiffe://td/a"], **own.files))))
    assert proxy.dump()["backends"][0]["host"]["tls"] == {
        "hostname": "s.example",
        "subjectAltNames": ["spiffe://td/a"],
        "authorities": 1,
        "clientCertificate": True,
    }
    assert "PRIVATE" not in json.dumps(proxy.dump())
