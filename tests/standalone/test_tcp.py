"""Connections that are not HTTP: TCP, TLS that ends at the proxy, TLS that is passed through."""

import contextlib
import hashlib
import os
import re
import socket
import threading
import time

import pytest

from support.http1 import Client
from support.proxy import document, to
from support.streams import Stream
from support.wait import until

MEBIBYTE = 1 << 20


def tcp(port, *routes, config=None, protocol="TCP", **listener) -> str:
    return document([{"port": port, "listeners": [{"protocol": protocol, "tcpRoutes": list(routes), **listener}]}], config)


def test_bytes_go_both_ways(start, ports, stream_server):
    server = stream_server("one")
    proxy = start(tcp(ports.free(), to(server)))
    with Stream(proxy.port) as client:
        assert client.line() == "one", "the server speaks first"
        assert [client.ask(f"word {n}") for n in range(3)] == [f"WORD {n}" for n in range(3)]
    line = proxy.access_lines("protocol=TCP")[0]
    assert re.search(rf"listener=default/default\.listener0 route=default/route0\.0\.listener0 source=127\.0\.0\.1:\d+ protocol=TCP duration_ms=\S+ received=21 sent=29 endpoint={server.address}$", line), line
    assert proxy.metric("agentgateway_streams_total", listener="listener0") == 1
    assert proxy.metric("agentgateway_stream_received_bytes_total") == 21
    assert proxy.metric("agentgateway_stream_sent_bytes_total") == 29
    until(lambda: proxy.metric("agentgateway_open_streams") == 0)


def test_either_side_may_end_first(start, ports, stream_server):
    server = stream_server("one")
    proxy = start(tcp(ports.free(), to(server)))
    with Stream(proxy.port) as client:
        client.line()
        client.send(b"last words\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b"LAST WORDS\nend\n", "what the server says after the client's end arrives"
    assert server.heard == [b"last words\n"]
    with Stream(proxy.port) as client:
        client.line()
        server.stop()
        assert client.rest() == b""


def test_connections_are_shared_out_by_weight(start, ports, stream_server):
    servers = [stream_server(name) for name in ("heavy", "light", "none")]
    backends = [{"host": server.address, "weight": weight} for server, weight in zip(servers, (9, 3, 0))]
    proxy = start(tcp(ports.free(), to(*backends), config={"accessLog": False}))
    names = []
    for _ in range(240):
        with Stream(proxy.port) as client:
            names.append(client.line())
    assert 150 < names.count("heavy") < 210 and names.count("none") == 0


def test_without_a_backend_the_connection_is_closed(start, ports):
    nobody = f"127.0.0.1:{ports.free()}"
    binds = [
        {"port": ports.free(), "listeners": [{"protocol": "TCP"}]},
        {"port": ports.free(), "listeners": [{"protocol": "TCP", "tcpRoutes": [{"backends": []}]}]},
        {"port": ports.free(), "listeners": [{"protocol": "TCP", "tcpRoutes": [to(nobody)]}]},
        {"port": ports.free(), "listeners": [{"protocol": "TCP", "tcpRoutes": [to("absent.invalid:1")]}]},
    ]
    proxy = start(document(binds))
    for port in proxy.ports:
        with Stream(port) as client:
            assert client.rest() == b""
    for reason in ["no route matches", "the route has no backend", "connect_failure", "dns_failure"]:
        proxy.access_lines(f"protocol=TCP .*reason=.{reason}")
    assert proxy.metric("agentgateway_stream_failures_total") == 4


@pytest.mark.root
def test_another_address_is_tried_when_one_refuses(start, ports, stream_server, named):
    server = stream_server("second", host="127.0.0.3")
    proxy = start(tcp(ports.free(), to(f"both.test:{server.port}")), prefix=named(both=["127.0.0.2", "127.0.0.3"]))
    for _ in range(20):
        with Stream(proxy.port) as client:
            assert client.line() == "second"
    assert proxy.metric("agentgateway_retries_total") > 0


def test_much_is_carried_in_little_memory(start, ports, stream_server):
    server = stream_server("one")
    proxy = start(tcp(ports.free(), to(server), config={"workers": 1}))
    with Stream(proxy.port, timeout=60) as client:
        client.line()
        before, piece, digest = proxy.resident_bytes(), os.urandom(MEBIBYTE).lower(), hashlib.sha256()
        for _ in range(100):
            digest.update(piece.upper())

        def write():
            for _ in range(100):
                client.send(piece)

        writer = threading.Thread(target=write)
        writer.start()
        # What nobody reads yet must not pile up here.
        time.sleep(0.5)
        assert proxy.resident_bytes() - before < 8 * MEBIBYTE
        got, length = hashlib.sha256(), 0
        while length < 100 * MEBIBYTE:
            data = client.socket.recv(1 << 18)
            got.update(data)
            length += len(data)
        writer.join()
        assert got.digest() == digest.digest()
        assert proxy.resident_bytes() - before < 8 * MEBIBYTE


def test_streams_end_with_the_drain(start, ports, stream_server):
    proxy = start(tcp(ports.free(), to(stream_server("one")), config={"drain": {"timeout": "2s"}}))
    with Stream(proxy.port) as client:
        client.line()
        begin = time.monotonic()
        proxy.terminate()
        until(lambda: proxy.ready_status() != 200, what="readiness to fail")
        assert client.ask("still there") == "STILL THERE"
        assert client.rest() == b""
        assert 1.5 < time.monotonic() - begin < 6
    proxy.wait()
    with contextlib.suppress(OSError):
        Stream(proxy.port).rest()
        pytest.fail("the port is still open")


def test_a_reload_keeps_streams(start, ports, stream_server):
    one, two = stream_server("one"), stream_server("two")
    port = ports.free()
    proxy = start(tcp(port, to(one)))
    with Stream(port) as client:
        client.line()
        proxy.reload(tcp(port, to(two)))
        assert client.ask("old") == "OLD"
        with Stream(port) as other:
            assert other.line() == "two"


def test_tls_ends_at_the_proxy(start, ports, stream_server, authority):
    leaf = authority.issue("a.example", "b.example", "c.example")
    one, two = stream_server("one"), stream_server("two")
    routes = [{"hostnames": ["a.example"], **to(one)}, {"hostnames": ["b.example"], **to(two)}]
    proxy = start(tcp(ports.free(), *routes, protocol="TLS", tls=leaf.files))
    for name, server in [("a.example", one), ("b.example", two)]:
        with Stream(proxy.port, authority.client(), name) as client:
            assert client.line() == server.name
            assert client.ask("quiet") == "QUIET"
            assert client.socket.selected_alpn_protocol() is None
        assert server.heard[0] == b"quiet\n", "in plaintext"
    with pytest.raises(OSError) as refused:
        Stream(proxy.port, authority.client(), "c.example")
    assert not re.search("alert|ALERT", str(refused.value)), "closed, before a handshake that leads nowhere"
    assert "server_name=c.example" in proxy.access_lines("no route matches")[0]


def test_tls_is_passed_through_as_it_is(start, ports, stream_server, authority):
    leaf = authority.issue("a.example", "b.example")
    one = stream_server("one", context=authority.server(leaf, ask_clients=True))
    proxy = start(tcp(ports.free(), {"hostnames": ["*.example"], **to(one)}, protocol="TLS", hostname="a.example"))
    own = authority.issue("client.example", common="client")
    with Stream(proxy.port, authority.client(own), "a.example") as client:
        assert (client.line(), client.ask("word")) == ("one", "WORD")
    assert one.names == ["a.example"]
    assert one.certificates[0]["subject"] == ((("commonName", "client"),),), "the handshake was with the server"
    with pytest.raises(OSError) as refused:
        Stream(proxy.port, authority.client(own), "b.example")
    assert not re.search("alert|ALERT", str(refused.value))
    assert proxy.metric("agentgateway_tls_handshakes_total") == 0


def test_https_and_both_kinds_of_tls_share_a_port(start, ports, backend, stream_server, authority):
    leaf = authority.issue("web.example", "through.example", "ends.example")
    plain, encrypted = stream_server("plain"), stream_server("encrypted", context=authority.server(leaf))
    listeners = [
        {"protocol": "HTTPS", "hostname": "web.example", "tls": leaf.files, "routes": [to(backend("web"))]},
        {"protocol": "TLS", "hostname": "through.example", "tcpRoutes": [to(encrypted)]},
        {"protocol": "TLS", "hostname": "ends.example", "tls": leaf.files, "tcpRoutes": [to(plain)]},
    ]
    proxy = start(document([{"port": ports.free(), "listeners": listeners}]))
    context = authority.client()
    with Client(proxy.port, context=context, name="web.example") as client:
        assert client.request(headers={"host": "web.example"}).json()["backend"] == "web"
        assert client.request(headers={"host": "ends.example"}).status == 421
    for name, expected in [("through.example", "encrypted"), ("ends.example", "plain")]:
        with Stream(proxy.port, context, name) as client:
            assert client.line() == expected


def test_streams_to_a_backend_with_tls(start, ports, stream_server, authority):
    server = stream_server("one", context=authority.server(authority.issue("db.example")))
    share = {"host": server.address, "policies": {"backendTLS": {"hostname": "db.example", "root": str(authority.file)}}}
    wrong = {"host": server.address, "policies": {"backendTLS": {"hostname": "other.example", "root": str(authority.file)}}}
    binds = [{"port": ports.free(), "listeners": [{"protocol": "TCP", "tcpRoutes": [to(each)]}]} for each in (share, wrong)]
    proxy = start(document(binds))
    with Stream(proxy.ports[0]) as client:
        assert (client.line(), client.ask("word")) == ("one", "WORD")
    assert server.names == ["db.example"]
    with Stream(proxy.ports[1]) as client:
        assert client.rest() == b""
    proxy.access_lines("reason=.upstream_tls_failure")
