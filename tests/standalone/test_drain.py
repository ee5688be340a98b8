"""How the proxy ends: readiness first, clients sent elsewhere, requests finished, streams cut at the limit."""

import contextlib
import http.client
import os
import re
import signal
import threading
import time

import h2.events
import pytest
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame

from support.http1 import Client, request
from support.http2 import Http2
from support.load import Load
from support.proxy import to
from support.wait import until


def test_drain_under_load(gateway, backend):
    proxy = gateway(to(backend()), config={"accessLog": False})
    with Load(proxy.port) as load:
        load.wait_for(100)
        proxy.terminate()
        until(lambda: load.failures, what="the port to close")
    assert proxy.wait() == 0
    # While the end is announced, requests are answered as before; after that the port is closed, and nothing else fails.
    assert [f for f in load.failures if "ConnectionRefused" not in f] == []


def test_readiness_fails_while_requests_are_still_answered(gateway, backend):
    proxy = gateway(to(backend()))
    with Client(proxy.port) as client, Client(proxy.port) as slow:
        client.request()
        answer = slow.start("/?chunks=10&interval=0.1")
        proxy.terminate()
        until(lambda: proxy.ready_status() == 503, what="readiness to fail")
        assert "draining" in request(proxy.readiness, "/healthz/ready").text
        assert request(proxy.readiness, "/healthz/live").status == 200, "killing it would cut what drains"
        last = client.request()
        assert (last.status, last.header("connection")) == (200, "close")
        assert answer.read().endswith(b"chunk 9\n")
    assert proxy.wait() == 0


def test_new_connections_are_refused_in_the_end(gateway, backend):
    proxy = gateway(to(backend()))
    with Client(proxy.port) as slow:
        answer = slow.start("/?chunks=0&interval=0.05")
        answer.read(8)
        proxy.terminate()

        def refused():
            try:
                return request(proxy.port) is None
            except ConnectionRefusedError:
                return True

        until(refused, timeout=5, what="the port to close")
        answer.read(8)
        assert proxy.running, "the stream is still served"
        proxy.signal(signal.SIGINT)
        proxy.wait()


def test_an_idle_kept_connection_is_closed_in_order(gateway, backend):
    proxy = gateway(to(backend()))
    with Client(proxy.port) as client:
        client.request()
        begin = time.monotonic()
        proxy.terminate()
        assert client._connection.sock.recv(1) == b"", "closed, not reset"
    assert proxy.wait() == 0
    assert time.monotonic() - begin < 5, "nothing was left to wait for"


def test_goaway_on_http2(gateway, backend):
    proxy = gateway(to(backend()))
    with Http2(proxy.port) as client:
        stream = client.send("/?chunks=10&interval=0.1")
        client.wait(h2.events.DataReceived, stream)
        proxy.terminate()
        frames = list(frames_until_end(client.socket))
    goaways = [f for f in frames if isinstance(f, GoAwayFrame)]
    assert goaways and all(f.error_code == 0 and f.last_stream_id >= stream for f in goaways)
    data = [f for f in frames if isinstance(f, DataFrame) and f.stream_id == stream]
    assert b"".join(f.data for f in data).endswith(b"chunk 9\n"), "streams that were open are finished"
    assert frames.index(goaways[0]) < frames.index(data[-1])
    assert proxy.wait() == 0


def frames_until_end(socket):
    """Frames as they come; the library for clients takes none after GOAWAY. Pings are answered."""
    data = b""
    while True:
        while len(data) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            if len(data) < 9 + length:
                break
            frame.parse_body(memoryview(data[9 : 9 + length]))
            data = data[9 + length :]
            if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                answer = PingFrame(0, frame.opaque_data, flags=["ACK"])
                socket.sendall(answer.serialize())
            yield frame
        more = socket.recv(1 << 16)
        if not more:
            return
        data += more


def test_a_stream_is_cut_at_the_limit(gateway, backend):
    proxy = gateway(to(backend()), config={"drain": {"timeout": "1s"}})
    with Client(proxy.port) as client:
        answer = client.start("/?chunks=0&interval=0.05")
        answer.read(8)
        begin = time.monotonic()
        proxy.terminate()
        with contextlib.suppress(http.client.IncompleteRead, ConnectionResetError):
            answer.read()
        took = time.monotonic() - begin
    assert proxy.wait() == 0
    assert 0.8 < took < 4
    assert "the drain time is over" in "\n".join(proxy.err)


def test_the_limit_can_be_set_on_the_command_line(gateway, backend):
    proxy = gateway(to(backend()), arguments=["--drain-timeout", "1"])
    with Client(proxy.port) as client:
        answer = client.start("/?chunks=0&interval=0.05")
        answer.read(8)
        begin = time.monotonic()
        proxy.terminate()
        assert proxy.wait() == 0
    assert time.monotonic() - begin < 4


def test_an_upload_is_finished(gateway, backend):
    host = backend()
    proxy = gateway(to(host))
    with Client(proxy.port) as client:
        connection = client._connection
        connection.putrequest("POST", "/upload")
        connection.putheader("content-length", "20")
        connection.endheaders()
        connection.send(b"first half")
        until(lambda: host.accepted, what="the request at the backend")
        proxy.terminate()
        until(lambda: proxy.ready_status() == 503)
        connection.send(b"other half")
        answer = connection.getresponse()
        assert answer.status == 200 and b'"length": 20' in answer.read()
    assert proxy.wait() == 0


def test_interrupted_once_it_drains_twice_it_ends(gateway, backend):
    proxy = gateway(to(backend()))
    with Client(proxy.port) as client:
        answer = client.start("/?chunks=0&interval=0.05")
        answer.read(8)
        proxy.signal(signal.SIGINT)
        proxy.wait_for("draining")
        until(lambda: proxy.ready_status() == 503)
        answer.read(8)
        assert proxy.running, "the stream is still served"
        begin = time.monotonic()
        proxy.signal(signal.SIGINT)
        proxy.wait()
        assert time.monotonic() - begin < 4
    assert "interrupted while draining" in "\n".join(proxy.err)


# PID 1: in a container the proxy is the init of its process namespace.

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
# A server over stdio that leaves an orphan behind: it answers nothing, and its child outlives it, in a session of its own,
# since what is left of the server's own group is ended with it.
LEAVES_ORPHAN = "setsid sh -c 'sleep 2; exec sleep 0.1' </dev/null >/dev/null 2>&1 & sleep 0.5; exit 0"


@pytest.fixture
def contained(gateway, backend):
    """A proxy that is PID 1 of a namespace, with an MCP target whose command leaves an orphan behind."""
    target = {"name": "orphans", "stdio": {"cmd": "sh", "args": ["-c", LEAVES_ORPHAN]}}
    mcp = {"matches": [{"path": {"exact": "/mcp"}}], "backends": [{"mcp": {"targets": [target]}}]}
    return gateway(mcp, to(backend()), prefix=UNSHARE)


def init_of(proxy) -> int:
    """Pid, as seen from here, of the first process in the namespace."""
    return until(lambda: proxy.children(), what="the namespace")[0]


def states_below(proxy) -> list[str]:
    states = []
    for pid in proxy.children():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat") as stat:
            states.append(re.search(r"\) (\S)", stat.read())[1])
    return states


@pytest.mark.root
def test_as_pid_1_orphans_are_reaped(contained):
    assert contained.get("/").status == 200
    before = len(contained.children())
    initialize = (
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        b'"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'
    )
    accept = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")]
    asking = threading.Thread(target=contained.get, args=("/mcp", "POST", accept, initialize))
    asking.start()
    until(lambda: len(contained.children()) > before, what="the orphan")
    asking.join()
    until(lambda: len(contained.children()) <= before, what="all of them to be gone")
    assert "Z" not in states_below(contained)


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_pid_1_signals_reach_the_proxy(contained, number):
    """A process that is PID 1 ignores signals that it has no handler for, so passing on is the proof."""
    assert contained.get("/").status == 200
    os.kill(init_of(contained), number)
    contained.wait_for("draining")
    assert contained.wait() == 0, "and its exit code is that of the proxy"


@pytest.mark.root
def test_as_pid_1_it_ends_with_the_proxy(contained):
    init = init_of(contained)
    worker = until(lambda: [p for p in contained.children() if p != init], what="the proxy below the init")[0]
    os.kill(worker, signal.SIGKILL)
    assert contained.wait() == 128 + signal.SIGKILL
