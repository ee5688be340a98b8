"""Datagrams: a session for each client's address."""

import contextlib
import resource
import socket
import time

import pytest

from support.proxy import document, to
from support.streams import DatagramServer, Datagrams
from support.wait import until


def udp(port, *routes, config=None) -> str:
    return document([{"port": port, "listeners": [{"protocol": "UDP", "udpRoutes": list(routes)}]}], config)


@pytest.fixture
def server():
    made = []

    def make(name="one", **options) -> DatagramServer:
        made.append(DatagramServer(name, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_datagrams_go_both_ways_and_a_client_stays_where_it_is(start, ports, server):
    servers = [server("one"), server("two")]
    proxy = start(udp(ports.free(), to(*servers)))
    for number in range(10):
        with Datagrams(proxy.port) as client:
            first = client.ask("x").split()[0]
            assert {client.ask(f"{n}") for n in range(5)} == {f"{first} {n}" for n in range(5)}
    clients = [client for server in servers for client in server.clients]
    assert len(clients) == 60 and len(set(clients)) == 10, "one socket for each client"
    assert proxy.metric("agentgateway_streams_total", listener="listener0") == 10
    assert proxy.metric("agentgateway_stream_received_bytes_total") == 60
    assert proxy.metric("agentgateway_open_streams") == 10


def test_clients_are_shared_out_by_weight(start, ports, server):
    servers = [server(name) for name in ("heavy", "light", "none")]
    backends = [{"host": each.address, "weight": weight} for each, weight in zip(servers, (9, 3, 0))]
    proxy = start(udp(ports.free(), to(*backends), config={"accessLog": False}))
    names = []
    for _ in range(240):
        with Datagrams(proxy.port) as client:
            names.append(client.ask("x").split()[0])
    assert 150 < names.count("heavy") < 210 and names.count("none") == 0


def test_many_at_once_and_large_ones(start, ports, server):
    proxy = start(udp(ports.free(), to(server())))
    clients = [Datagrams(proxy.port) for _ in range(100)]
    try:
        for number, client in enumerate(clients):
            client.send(f"{number}")
        assert [client.receive() for client in clients] == [f"one {number}" for number in range(100)]
        large = "x" * 60_000
        assert clients[0].ask(large) == f"one {large}"
        assert clients[0].ask("") == "one ", "an empty one is one"
    finally:
        for client in clients:
            client.socket.close()


def test_an_endpoint_that_comes_back_is_used_again(start, ports, server):
    one = server()
    proxy = start(udp(ports.free(), to(one)))
    with Datagrams(proxy.port) as client:
        assert client.ask("a") == "one a"
        one.stop()
        client.send("lost")
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.receive()
        one.start()

        def answered():
            client.send("b")
            try:
                return client.receive() == "one b"
            except TimeoutError:
                return False

        until(answered, what="an answer of the new endpoint")


@pytest.mark.root
def test_a_session_moves_on_when_its_endpoint_is_gone(start, ports, server, named):
    first = server("first", host="127.0.0.2")
    second = server("second", host="127.0.0.3", port=first.port)
    proxy = start(udp(ports.free(), to(f"both.test:{first.port}")), prefix=named(both=["127.0.0.2", "127.0.0.3"]))
    with Datagrams(proxy.port) as client:
        client.socket.settimeout(0.3)
        name = client.ask("x").split()[0]
        {"first": first, "second": second}[name].stop()
        other = {"first": "second", "second": "first"}[name]

        def moved():
            client.send("y")
            try:
                return client.receive() == f"{other} y"
            except TimeoutError:
                return False

        until(moved, what="an answer of the other")


def asked(client, text):
    """The answer, if one comes: a datagram may be lost while the configuration changes."""
    try:
        return client.ask(text)
    except TimeoutError:
        return None


def test_a_route_that_is_taken_away_ends_its_sessions(start, ports, server):
    one, two, port = server("one"), server("two"), ports.free()
    proxy = start(udp(port, to(one)))
    with Datagrams(port) as client:
        assert client.ask("a") == "one a"
        proxy.reload(udp(port, to(one), config={"logging": {"level": "debug"}}))
        assert client.ask("b") == "one b"
        assert len(set(one.clients)) == 1, "a reload that changes nothing for it keeps the session"
        other = {"udpRoutes": [{"name": "other", **to(two)}]}
        proxy.reload(document([{"port": port, "listeners": [{"protocol": "UDP", **other}]}]))
        until(lambda: asked(client, "c") == "two c", what="the new backend")
    assert f"endpoint={one.address}" in proxy.access_lines(r"route=default/route0.0.listener0 .*protocol=UDP")[0]


def test_without_a_backend_datagrams_are_dropped_and_counted(start, ports):
    port = ports.free()
    proxy = start(udp(port, {"backends": []}))
    with Datagrams(port, timeout=0.3) as client:
        for _ in range(3):
            client.send("x")
        with pytest.raises(TimeoutError):
            client.receive()
    until(lambda: proxy.metric("agentgateway_dropped_datagrams_total", listener="listener0") == 3)
    proxy.access_lines('protocol=UDP .*reason="the route has no backend"')


def test_tcp_and_udp_on_one_port_number(start, ports, server, stream_server):
    port, one, stream = ports.free(), server("datagrams"), stream_server("stream")
    binds = [
        {"port": port, "listeners": [{"protocol": "UDP", "udpRoutes": [to(one)]}]},
        {"port": port, "listeners": [{"protocol": "TCP", "tcpRoutes": [to(stream)]}]},
    ]
    proxy = start(document(binds))
    with Datagrams(port) as client:
        assert client.ask("x") == "datagrams x"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        assert client.recv(100) == b"stream\n"
    assert {bind["key"] for bind in proxy.dump()["binds"]} == {f"{port}/default/default"}


def test_a_silent_session_ends(start, ports, server):
    proxy = start(udp(ports.free(), to(server())))
    with Datagrams(proxy.port) as silent, Datagrams(proxy.port) as talking:
        silent.ask("x")
        begin = time.monotonic()
        while time.monotonic() - begin < 63:
            assert talking.ask("y") == "one y"
            time.sleep(3)
        assert proxy.metric("agentgateway_open_streams") == 1
        assert len(proxy.access_lines("protocol=UDP")) == 1
        assert silent.ask("z") == "one z", "it begins another"


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 20_000, reason="each session has a socket")
def test_sessions_are_bounded(start, ports, server):
    proxy = start(udp(ports.free(), to(server()), config={"workers": 1, "accessLog": False}))
    with Datagrams(proxy.port) as first:
        first.ask("x")
        for number in range(8_600):
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                # Addresses of their own, so that none is used twice.
                client.bind((f"127.0.1.{1 + number // 1000}", 21_000 + number % 1000))
                client.sendto(b"x", ("127.0.0.1", proxy.port))
            if number % 100 == 0:
                assert first.ask("y") == "one y"
        until(lambda: proxy.metric("agentgateway_dropped_datagrams_total") > 100, what="datagrams to be dropped")
        assert proxy.metric("agentgateway_open_streams") == 8192
        assert first.ask("y") == "one y", "those that are there go on"
