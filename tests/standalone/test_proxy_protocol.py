"""The PROXY protocol: where a balancer says that the client is."""

import socket
import struct

import pytest

from support.echo import headers_of
from support.http1 import Client, Raw
from support.proxy import document, to
from support.streams import Stream

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n"


def v2(command=1, family=0x11, source="192.0.2.7", tlvs=b"") -> bytes:
    version = socket.AF_INET if family == 0x11 else socket.AF_INET6
    addresses = socket.inet_pton(version, source) + socket.inet_pton(version, source) + struct.pack("!HH", 4711, 80)
    body = (addresses if command else b"") + tlvs
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family if command else 0, len(body)) + body


@pytest.fixture
def proxied(start, ports, backend):
    def make(mode="required", **listener):
        listener = {"routes": [to(backend())], **listener}
        return start(document([{"port": ports.free(), "proxyProtocol": mode, "listeners": [listener]}]))

    return make


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (V1, "192.0.2.7:4711"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "[2001:db8::7]:4711"),
        (v2(), "192.0.2.7:4711"),
        (v2(tlvs=b"\x04\x00\x03abc" + b"\xea\x03\x00" + bytes(768)), "192.0.2.7:4711"),
        (v2(family=0x21, source="2001:db8::7"), "[2001:db8::7]:4711"),
    ],
    ids=["v1", "v1-ipv6", "v2", "v2-tlvs", "v2-ipv6"],
)
def test_the_client_is_where_the_header_says(proxied, header, source):
    address = source.rsplit(":", 1)[0].strip("[]")
    proxy = proxied(policies={"authorization": {"rules": [{"allow": f"source.address == '{address}' && source.port == 4711"}]}})
    with Client(proxy.port, first=header) as client:
        answers = [client.request() for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert {headers_of(answer.json())["x-forwarded-for"] for answer in answers} == {address}
    assert f"source={source} " in proxy.access_lines("status=200")[0]


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(command=0)], ids=["v1-unknown", "v2-local"])
def test_a_balancers_own_connection_is_its_own(proxied, header):
    proxy = proxied()
    with Client(proxy.port, first=header) as client:
        assert client.request().status == 200
    assert "source=127.0.0.1:" in proxy.access_lines("status=200")[0]


def test_a_header_in_pieces(proxied):
    proxy = proxied()
    for header in (V1, v2()):
        with Raw(proxy.port) as raw:
            raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(header), 5):
                raw.send(header[at : at + 5])
            raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert raw.read_response().status == 200


@pytest.mark.parametrize(
    "begin",
    [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"PROXY TCP4 192.0.2.7\r\n", SIGNATURE + b"\x31\x11\0\0", b"PROXY " + b"x" * 200],
    ids=["none", "v1-short", "v2-version", "v1-long"],
)
def test_a_connection_without_a_valid_header_is_closed(proxied, begin):
    proxy = proxied()
    with Raw(proxy.port) as raw:
        raw.send(begin)
        assert raw.read_to_end() == b""
    assert proxy.metric("agentgateway_proxy_protocol_failures_total") == 1


def test_where_it_is_optional_both_are_served(proxied):
    proxy = proxied("optional")
    with Client(proxy.port) as client:
        assert client.request().status == 200
    with Client(proxy.port, first=V1) as client:
        assert client.request().status == 200
    # Each of the proxy's threads writes its lines when it likes.
    lines = "\n".join(proxy.access_lines("status=200", count=2))
    assert "source=127.0.0.1:" in lines and "source=192.0.2.7:4711" in lines
    with Raw(proxy.port) as raw:
        raw.send(b"PROXY nonsense\r\n")
        assert raw.read_to_end() == b"", "a broken header is no absent one"


def test_where_it_is_off_nobody_can_claim_an_address(proxied):
    proxy = proxied("off")
    with Raw(proxy.port) as raw:
        raw.send(V1 + b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert raw.read_to_end() == b"", "its first line is none of HTTP"


def test_before_tls(proxied, authority):
    proxy = proxied(protocol="HTTPS", tls=authority.issue("a.example").files)
    for header in (V1, v2()):
        with Client(proxy.port, first=header, context=authority.client(), name="a.example") as client:
            assert client.request().status == 200
    assert all("source=192.0.2.7:4711" in line for line in proxy.access_lines("status=200", count=2))


def test_before_streams(start, ports, stream_server):
    listener = {"protocol": "TCP", "tcpRoutes": [to(stream_server("one"))]}
    proxy = start(document([{"port": ports.free(), "proxyProtocol": "required", "listeners": [listener]}]))
    with Stream(proxy.port, first=V1) as client:
        assert (client.line(), client.ask("word")) == ("one", "WORD")
    assert "source=192.0.2.7:4711" in proxy.access_lines("protocol=TCP")[0]
