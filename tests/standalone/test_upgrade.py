"""Upgrades: WebSocket and other protocols through the gateway, over HTTP/1.1 and HTTP/2."""

import asyncio
import contextlib
import threading
import time

import h2.events
import pytest
import websockets
import websockets.sync.client
import websockets.sync.server

from support.http1 import Raw
from support.http2 import Http2
from support.proxy import document, to
from support.wait import until


class WebSocketServer:
    """Answers each message with itself, in capitals where it is text."""

    def __init__(self, port, context=None):
        self.port, self.heads = port, []
        self._server = websockets.sync.server.serve(self._serve, "127.0.0.1", port, process_request=self._head, ssl=context)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _head(self, connection, request):
        self.heads.append(request)
        if request.path.startswith("/refused"):
            return connection.respond(403, "not for you\n")

    def _serve(self, connection):
        for message in connection:
            connection.send(message.upper() if isinstance(message, str) else message)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self._server.shutdown()


@pytest.fixture
def server(ports):
    server = WebSocketServer(ports.free())
    yield server
    server.close()


def connect(proxy, path="/ws", **options):
    return websockets.sync.client.connect(f"ws://127.0.0.1:{proxy.port}{path}", **options)


def test_messages_both_ways(gateway, server):
    proxy = gateway(to(server, policies={"requestHeaderModifier": {"set": [{"name": "x-set", "value": "1"}]}}))
    with connect(proxy, subprotocols=["chat"]) as client:
        client.send("hello")
        assert client.recv(5) == "HELLO"
        large = bytes(range(256)) * 4000
        client.send(large)
        assert client.recv(5) == large
    assert server.heads[0].headers["x-set"] == "1", "filters hold for the request"
    line = proxy.access_lines("/ws")[0]
    assert "101" in line
    assert proxy.metric("agentgateway_upgrades_total") == 1
    until(lambda: proxy.metric("agentgateway_downstream_connections") == 0)


def test_over_tls_on_both_sides(start, ports, authority):
    """The backend would choose HTTP/2, in which this upgrade does not exist."""
    leaf = authority.issue("a.example")
    encrypted = WebSocketServer(ports.free(), authority.server(leaf, alpn=["h2", "http/1.1"]))
    try:
        settings = {"hostname": "a.example", "root": str(authority.file)}
        share = {"host": encrypted.address, "policies": {"backendTLS": settings}}
        listener = {"protocol": "HTTPS", "tls": leaf.files, "routes": [to(share)]}
        proxy = start(document([{"port": ports.free(), "listeners": [listener]}]))
        with websockets.sync.client.connect(
            f"wss://127.0.0.1:{proxy.port}/ws", ssl=authority.client(), server_hostname="a.example"
        ) as client:
            client.send("hello")
            assert client.recv(5) == "HELLO"
        assert encrypted.heads[0].headers["x-forwarded-proto"] == "https"
    finally:
        encrypted.close()


def test_compression_and_pings_are_the_peers_affair(gateway, server):
    proxy = gateway(to(server))
    with connect(proxy, compression="deflate") as client:
        assert client.ping().wait(5)
        client.send("x" * 100_000)
        assert client.recv(5) == "X" * 100_000


def test_many_at_once(gateway, server):
    proxy = gateway(to(server))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy)) for _ in range(50)]
        for n, client in enumerate(clients):
            client.send(f"n{n}")
        assert [client.recv(5) for client in clients] == [f"N{n}" for n in range(50)]
        assert proxy.metric("agentgateway_downstream_connections") == 50


def test_a_refused_upgrade_is_a_plain_answer(gateway, server):
    proxy = gateway(to(server))
    with pytest.raises(websockets.InvalidStatus) as refused:
        connect(proxy, "/refused")
    assert refused.value.response.status_code == 403 and refused.value.response.body == b"not for you\n"


def test_a_backend_that_knows_no_upgrade_answers_and_the_connection_is_kept(gateway, backend):
    proxy = gateway(to(backend()))
    with Raw(proxy.port) as raw:
        for _ in range(2):
            raw.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            response = raw.read_response()
            headers = dict(response.json()["headers"])
            assert response.status == 200 and headers["upgrade"] == "websocket"
            assert response.header("upgrade") is None and response.header("connection") is None


@pytest.mark.parametrize("upgrade", ["h2c", "HTTP/2.0", "TLS/1.2, HTTP/1.1"])
def test_http_itself_is_not_passed_on(gateway, backend, upgrade):
    """Or a client could speak to the backend past the gateway."""
    proxy = gateway(to(backend()))
    with Raw(proxy.port) as raw:
        raw.send(f"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: {upgrade}\r\nhttp2-settings: AAMAAABk\r\n\r\n")
        headers = dict(raw.read_response().json()["headers"])
    assert not {"upgrade", "connection", "http2-settings"} & set(headers)


def test_policies_come_before(gateway, server):
    proxy = gateway(to(server, policies={"authorization": {"rules": [{"deny": "request.path == '/secret'"}]}}))
    with pytest.raises(websockets.InvalidStatus) as refused:
        connect(proxy, "/secret")
    assert refused.value.response.status_code == 403 and not server.heads


def test_any_protocol_is_carried_and_each_side_may_end_first(gateway, ports, loop):
    """A protocol of our own: the backend speaks first, then says what it got once the client has ended."""
    port, got = ports.free(), []

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\nfirst ")
        got.append(await reader.read())
        writer.write(b"got " + got[0])
        writer.close()

    async def listen():
        return await asyncio.start_server(serve, "127.0.0.1", port)

    server = loop.run(listen())
    proxy = gateway(to(f"127.0.0.1:{port}"))
    with Raw(proxy.port) as raw:
        # The client does not wait for the answer.
        raw.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n")
        status, headers, _ = raw.read_head()
        assert (status, headers["upgrade"], headers["connection"]) == (101, "mine", "upgrade")
        raw.send(b"all")
        raw.socket.shutdown(1)
        assert raw.read_to_end() == b"first got all"
    server.close()


def test_switching_without_being_asked_is_502(gateway, ports, loop):
    port = ports.free()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n")

    async def listen():
        return await asyncio.start_server(serve, "127.0.0.1", port)

    server = loop.run(listen())
    assert gateway(to(f"127.0.0.1:{port}")).get().status == 502
    server.close()


def test_a_websocket_over_http2(gateway, server):
    """RFC 8441: the backend gets an upgrade."""
    proxy = gateway(to(server))
    with Http2(proxy.port) as client:
        client.wait(h2.events.RemoteSettingsChanged)
        assert client.connection.remote_settings.enable_connect_protocol == 1
        stream = client.connection.get_next_available_stream_id()
        head = [
            *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"), (":authority", "a.test")),
            ("sec-websocket-version", "13"),
        ]
        client.connection.send_headers(stream, head)
        client.flush()
        answer = dict(client.wait(h2.events.ResponseReceived, stream).headers)
        assert answer[":status"] == "200" and "sec-websocket-accept" not in answer
        # A masked text frame with a mask of zeros.
        client.connection.send_data(stream, b"\x81\x85\0\0\0\0hello")
        client.flush()
        assert client.wait(h2.events.DataReceived, stream).data == b"\x81\x05HELLO"
        client.connection.send_data(stream, b"\x88\x80\0\0\0\0", end_stream=True)
        client.flush()
        client.wait(h2.events.StreamEnded, stream)
    assert server.heads[0].headers["host"] == "a.test"
    assert proxy.access_lines("/ws")


def test_plain_connect_stays_refused(gateway, server):
    proxy = gateway(to(server))
    with Http2(proxy.port) as client:
        stream = client.connection.get_next_available_stream_id()
        client.connection.send_headers(stream, [(":method", "CONNECT"), (":authority", "a.test:443")], end_stream=True)
        client.flush()
        assert dict(client.wait(h2.events.ResponseReceived, stream).headers)[":status"] in ("400", "404")
    assert not server.heads


def test_timeouts_end_with_the_switch(gateway, server):
    proxy = gateway(to(server, policies={"timeout": {"requestTimeout": "300ms"}}))
    with connect(proxy) as client:
        time.sleep(0.8)
        client.send("late")
        assert client.recv(5) == "LATE"


def test_drain_waits_for_tunnels_up_to_its_limit(gateway, server):
    proxy = gateway(to(server), config={"drain": {"timeout": "3s"}})
    with connect(proxy) as client:
        proxy.terminate()
        time.sleep(0.7)
        client.send("still")
        assert client.recv(5) == "STILL"
        assert proxy.running
    assert proxy.wait() == 0
