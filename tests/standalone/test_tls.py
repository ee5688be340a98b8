"""TLS from clients: listeners by server name, certificates, versions, client certificates, and what is refused."""

import re
import socket
import ssl

import pytest

from support.certificates import Authority, serial_of
from support.http1 import Client, Raw
from support.http2 import Http2
from support.proxy import document, to
from support.streams import Stream
from support.wait import until

ALPN = ["h2", "http/1.1"]


def https(port, *listeners, config=None, **bind) -> str:
    return document([{"port": port, **bind, "listeners": [{"protocol": "HTTPS", **listener} for listener in listeners]}], config)


@pytest.fixture
def secure(start, ports, backend, authority):
    """A proxy with one HTTPS listener for everybody; gives the proxy and its certificate."""

    def make(policies=None, config=None, **tls):
        own = authority.issue("a.example", "*.wild.example")
        listener = {"tls": {**own.files, **tls}, "routes": [to(backend())]}
        if policies:
            listener["policies"] = policies
        return start(https(ports.free(), listener, config=config)), own

    return make


def get(port, context, name, path="/", host=None) -> int:
    with Client(port, context=context, name=name) as client:
        return client.request(path, headers={"host": host or name}).status


def handshake_error(port, context, name) -> ssl.SSLError | OSError:
    """What a client sees that is refused; with TLS 1.3 it learns of it from its first read."""
    with pytest.raises(OSError) as refused, Stream(port, context, name) as stream:
        stream.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert stream.socket.recv(1) != b"", "closed without a word"
        pytest.fail("the client was let in")
    return refused.value


def test_both_versions_of_http_over_tls(secure, authority):
    proxy, _ = secure(policies={"authorization": {"rules": [{"allow": "request.scheme == 'https'"}]}})
    with Client(proxy.port, context=authority.client(alpn=ALPN[1:]), name="a.example") as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        assert [client.request(headers={"host": "a.example"}).status for _ in range(3)] == [200] * 3
    with Http2(proxy.port, context=authority.client(alpn=ALPN), name="a.example") as client:
        assert client.socket.selected_alpn_protocol() == "h2"
        assert client.request(authority="a.example")[0] == 200
    with Client(proxy.port, context=authority.client(), name="a.example") as client:
        assert client.socket.selected_alpn_protocol() is None
        assert client.request().status == 200, "who names no protocol speaks HTTP/1.1"
    assert proxy.metric("agentgateway_tls_handshakes_total") == 3


def test_application_protocols_can_be_chosen(secure, authority):
    proxy, _ = secure(alpn=["http/1.1"])
    with Client(proxy.port, context=authority.client(alpn=ALPN), name="a.example") as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"


def test_bodies_over_tls(secure, authority):
    proxy, _ = secure()
    body = bytes(range(256)) * 8192
    with Client(proxy.port, context=authority.client(), name="a.example") as client:
        assert client.request(method="POST", body=body).json()["length"] == len(body)
        assert len(client.request(f"/?size={len(body)}").body) == len(body)


def test_listeners_by_server_name(start, ports, backend, authority):
    names = {"exact": "one.wild.example", "wild": "*.wild.example", "any": None}
    leaves = {name: authority.issue("one.wild.example", "two.wild.example", "other.example") for name in names}
    listeners = [
        {"name": name, **({"hostname": host} if host else {}), "tls": leaves[name].files, "routes": [to(backend(name))]}
        for name, host in names.items()
    ]
    proxy = start(https(ports.free(), *listeners))
    context = authority.client()
    for server_name, expected in [("one.wild.example", "exact"), ("two.wild.example", "wild"), ("other.example", "any")]:
        with Client(proxy.port, context=context, name=server_name) as client:
            assert serial_of(client.socket) == leaves[expected].serial
            assert client.request(headers={"host": server_name}).json()["backend"] == expected


def test_certificates_of_a_listener_by_name_and_by_what_the_client_verifies(start, ports, backend, authority):
    first, rsa, wild = authority.issue("a.example"), authority.issue("a.example", rsa_key=True), authority.issue("*.b.example")
    tls = {"certificates": [leaf.files for leaf in (first, rsa, wild)]}
    proxy = start(https(ports.free(), {"tls": tls, "routes": [to(backend())]}))

    def shown(name, ciphers=None):
        context = authority.client()
        if ciphers:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
        context.check_hostname = False
        with Client(proxy.port, context=context, name=name) as client:
            return serial_of(client.socket)

    assert shown("a.example") == first.serial
    assert shown("a.example", "ECDHE-RSA-AES128-GCM-SHA256") == rsa.serial
    assert shown("x.b.example") == wild.serial
    assert shown("nobody.example") == first.serial


def test_a_name_that_no_listener_has_is_refused_with_its_alert(start, ports, backend, authority):
    leaf = authority.issue("a.example")
    proxy = start(https(ports.free(), {"hostname": "a.example", "tls": leaf.files, "routes": [to(backend())]}))
    assert "UNRECOGNIZED_NAME" in str(handshake_error(proxy.port, authority.client(), "b.example"))
    assert get(proxy.port, authority.client(), "a.example") == 200
    assert proxy.metric("agentgateway_tls_handshake_failures_total", reason="no_listener") == 1
    assert "protocol=TLS server_name=b.example" in proxy.access_lines("tls_no_listener")[0]


@pytest.mark.parametrize("version", ["http/1.1", "h2"])
def test_requests_for_another_listener_are_misdirected(start, ports, backend, authority, version):
    """The table of Gateway API's conformance suite."""
    names = ["example.org", "second-example.org", "*.wildcard.org", "unknown-example.org", "other.example"]
    leaf = authority.issue(*names)
    hosts = {"any": None, "second": "second-example.org", "wild": "*.wildcard.org", "fourth": "fourth-example.wildcard.org"}
    listeners = [
        {"name": name, **({"hostname": host} if host else {}), "tls": leaf.files, "routes": [to(backend(name))]}
        for name, host in hosts.items()
    ]
    listeners[0]["routes"][0]["hostnames"] = ["example.org"]
    proxy = start(https(ports.free(), *listeners))
    context = authority.client(alpn=[version])

    def status(server_name, host):
        if version == "h2":
            with Http2(proxy.port, context=context, name=server_name) as client:
                return client.request(authority=host)[0]
        return get(proxy.port, context, server_name, host=host)

    for server_name, host, expected in [
        ("example.org", "example.org", 200),
        ("example.org", "second-example.org", 421),
        ("example.org", "unknown-example.org", 404),
        ("second-example.org", "second-example.org", 200),
        ("second-example.org", "example.org", 421),
        ("second-example.org", "unknown-example.org", 421),
        ("third-example.wildcard.org", "third-example.wildcard.org", 200),
        ("third-example.wildcard.org", "fith-example.wildcard.org", 200),
        ("third-example.wildcard.org", "fourth-example.wildcard.org", 421),
        ("third-example.wildcard.org", "second-example.org", 421),
        ("fourth-example.wildcard.org", "fourth-example.wildcard.org", 200),
        ("fourth-example.wildcard.org", "fith-example.wildcard.org", 421),
        ("unknown-example.org", "example.org", 200),
        ("unknown-example.org", "unknown-example.org", 404),
    ]:
        assert status(server_name, host) == expected, (server_name, host)


def test_a_misdirected_request_leaves_the_connection_usable(start, ports, backend, authority):
    leaf = authority.issue("a.example", "b.example")
    one, two = ({"hostname": f"{name}.example", "tls": leaf.files, "routes": [to(backend(name))]} for name in "ab")
    proxy = start(https(ports.free(), one, two))
    with Http2(proxy.port, context=authority.client(alpn=ALPN), name="a.example") as client:
        assert [client.request(authority=f"{name}.example")[0] for name in "aba"] == [200, 421, 200]


def test_versions_are_bounded(start, ports, backend, authority):
    leaf = authority.issue("a.example")
    listener = {"tls": {**leaf.files, "minTLSVersion": "1.3"}, "routes": [to(backend())]}
    older = {"tls": {**leaf.files, "maxTLSVersion": "1.2"}, "routes": [to(backend())]}
    binds = [{"port": ports.free(), "listeners": [{"protocol": "HTTPS", **each}]} for each in (listener, older)]
    proxy = start(document(binds))
    old = authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "PROTOCOL_VERSION" in str(handshake_error(proxy.ports[0], old, "a.example"))
    assert get(proxy.ports[0], authority.client(), "a.example") == 200
    assert get(proxy.ports[1], old, "a.example") == 200
    with Client(proxy.ports[1], context=authority.client(), name="a.example") as client:
        assert client.socket.version() == "TLSv1.2"


def test_a_renewed_certificate_is_shown_and_connections_go_on(start, ports, backend, authority):
    leaf = authority.issue("a.example", file="renewed")
    proxy = start(https(ports.free(), {"tls": leaf.files, "routes": [to(backend())]}))
    with Client(proxy.port, context=authority.client(), name="a.example") as kept:
        assert kept.request().status == 200
        fresh = authority.issue("a.example", file="renewed")
        proxy.wait_for("configuration loaded", since=0)

        def shown():
            with Client(proxy.port, context=authority.client(), name="a.example") as client:
                return serial_of(client.socket) == fresh.serial

        until(shown, what="the new certificate")
        assert kept.request().status == 200, "the same connection"


def test_clients_must_show_a_valid_certificate(secure, authority, tmp_path):
    proxy, _ = secure(
        root=str(authority.file),
        policies={"authorization": {"rules": [{"allow": "source.identity == 'spiffe://td/ns/a/sa/b'"}]}},
    )
    stranger = Authority(tmp_path, "stranger")
    good = authority.issue("client.example", uris=["spiffe://td/ns/a/sa/b"])
    other = authority.issue("other.example", uris=["spiffe://td/ns/a/sa/c"])
    assert get(proxy.port, authority.client(good), "a.example") == 200
    assert get(proxy.port, authority.client(other), "a.example") == 403
    for own in [None, stranger.issue("client.example"), authority.issue("client.example", expired=True)]:
        assert isinstance(handshake_error(proxy.port, authority.client(own), "a.example"), ssl.SSLError)
    assert proxy.metric("agentgateway_tls_handshake_failures_total", reason="client_certificate") == 3


def test_with_the_fallback_rules_decide_about_certificates(secure, authority, tmp_path):
    rule = "has(source.subject) ? source.subject == 'CN=client' && 'client.example' in source.subjectAltNames : request.path == '/open'"
    proxy, _ = secure(
        root=str(authority.file), mtlsMode="allowInsecureFallback", policies={"authorization": {"rules": [{"allow": rule}]}}
    )
    stranger = Authority(tmp_path, "stranger")
    good = authority.client(authority.issue("client.example", common="client"))
    assert [get(proxy.port, good, "a.example", path) for path in ("/", "/open")] == [200, 200]
    for own in [None, stranger.issue("client.example", common="client"), authority.issue("client.example", common="client", expired=True)]:
        context = authority.client(own)
        assert [get(proxy.port, context, "a.example", path) for path in ("/", "/open")] == [403, 200], own


@pytest.mark.parametrize("version", ["http/1.1", "h2"])
def test_validation_holds_for_connections_that_were_made_before_it(start, ports, backend, authority, version):
    leaf, port = authority.issue("a.example"), ports.free()
    listener = {"tls": leaf.files, "routes": [to(backend())]}
    proxy = start(https(port, listener))
    context = authority.client(alpn=[version])
    with Http2(port, context=context, name="a.example") if version == "h2" else Client(port, context=context, name="a.example") as kept:

        def status():
            return kept.request(authority="a.example")[0] if version == "h2" else kept.request(headers={"host": "a.example"}).status

        assert status() == 200
        proxy.reload(https(port, {**listener, "tls": {**leaf.files, "root": str(authority.file)}}))
        assert status() == 421
        proxy.reload(https(port, listener))
        assert status() == 200


def test_sessions_are_resumed_by_their_own_listener_alone(start, ports, backend, authority):
    """Else a client would take a session from a listener that asks for no certificate to one that does."""
    leaf = authority.issue("a.example")
    open_, closed = {"tls": leaf.files, "routes": [to(backend())]}, {"tls": {**leaf.files, "root": str(authority.file)}, "routes": [to(backend())]}
    proxy = start(document([{"port": ports.free(), "listeners": [{"protocol": "HTTPS", **each}]} for each in (open_, closed)]))
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def connect(port, session=None):
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        return context.wrap_socket(plain, server_hostname="a.example", session=session)

    with connect(proxy.ports[0]) as first, connect(proxy.ports[0], first.session) as second:
        assert second.session_reused
        with pytest.raises(OSError):
            connect(proxy.ports[1], first.session)


def test_a_client_hello_in_pieces(secure, authority):
    proxy, _ = secure()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client().wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    record = outgoing.read()
    header, message = record[:3], record[5:]
    # Each piece is a record of its own, and comes in a packet of its own.
    with Raw(proxy.port) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(message), 40):
            piece = message[at : at + 40]
            raw.send(header + len(piece).to_bytes(2) + piece)
        assert raw.read(1) == b"\x16", "a ServerHello, and no alert"


def test_what_is_not_tls_is_closed_and_counted(secure):
    proxy, _ = secure()
    with Raw(proxy.port) as raw:
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert raw.read_to_end() == b""
    with Raw(proxy.port) as raw:
        raw.send(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(40_000))
        raw.read_to_end()
    until(lambda: proxy.metric("agentgateway_tls_handshake_failures_total", reason="not_tls") == 1)
    until(lambda: proxy.metric("agentgateway_tls_handshake_failures_total", reason="protocol") == 1)
    with Raw(proxy.port):
        pass
    assert len(proxy.access_lines("protocol=TLS", count=2)) == 2, "a probe that says nothing is not logged"


def test_a_handshake_must_end_in_time(secure):
    proxy, _ = secure()
    with Raw(proxy.port, timeout=20) as raw:
        raw.send(b"\x16\x03\x01")
        assert raw.read_to_end() == b""
    assert proxy.metric("agentgateway_tls_handshake_failures_total", reason="timeout") == 1


def test_no_key_is_shown_anywhere(secure, authority):
    proxy, own = secure(config={"logging": {"level": "trace"}})
    get(proxy.port, authority.client(), "a.example")
    shown = str(proxy.dump()) + "\n".join(proxy.out) + "\n".join(proxy.err) + proxy.metrics()
    assert "PRIVATE KEY" not in shown
    for line in own.key.read_text().splitlines()[1:-1]:
        assert line not in shown
    listener = next(iter(proxy.dump()["binds"][0]["listeners"].values()))
    assert (listener["protocol"], listener["tls"]) == ("HTTPS", {"certificates": 1})


def test_connections_over_tls_drain(secure, authority):
    proxy, _ = secure()
    with Client(proxy.port, context=authority.client(), name="a.example") as client:
        client.request()
        proxy.terminate()
        until(lambda: proxy.ready_status() == 503, what="readiness to fail")
        assert client.request().header("connection") == "close"
    assert proxy.wait() == 0


def test_the_log_tells_the_version_and_host(secure, authority):
    proxy, _ = secure()
    get(proxy.port, authority.client(), "a.example", host="x.example")
    assert re.search(r"host=x\.example .*version=HTTP/1\.1 status=200", proxy.access_lines("status=200")[0])
