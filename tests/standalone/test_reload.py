"""Live reload: under load no request is dropped, on kept and on new connections, whatever changes."""

import h2.events

from support.http1 import Client, request
from support.http2 import Http2
from support.load import Load
from support.proxy import document, routes, to
from support.wait import until


def test_a_route_changes_under_load(gateway, backend):
    old, new = backend("old"), backend("new")
    proxy = gateway(to(old), config={"accessLog": False})
    with Load(proxy.port) as load:
        load.wait_for(100)
        for _ in range(5):
            proxy.reload(routes(proxy.port, to(new)))
            load.wait_for(50)
            proxy.reload(routes(proxy.port, to(old)))
            load.wait_for(50)
        proxy.reload(routes(proxy.port, to(new)))
        # Requests that were on their way when the file changed may still be answered by the old one.
        load.wait_for(20)
        before = load.answers["old"]
        load.wait_for(50)
    assert load.failures == []
    assert load.answers["old"] == before and load.answers["new"] > 0


def test_binds_come_and_go_under_load(start, ports, backend):
    host, first, second = backend(), ports.free(), ports.free()

    def binds(*numbers):
        return document([{"port": n, "listeners": [{"routes": [to(host)]}]} for n in numbers])

    proxy = start(binds(first))
    with Load(first) as load:
        load.wait_for(50)
        for _ in range(4):
            proxy.reload(binds(first, second))
            until(lambda: answers(second), what="the second bind")
            load.wait_for(20)
            proxy.reload(binds(first))
            until(lambda: not answers(second), what="the second bind to be gone")
            load.wait_for(20)
    assert load.failures == []


def answers(port):
    try:
        return request(port).status == 200
    except OSError:
        return False


def test_connections_of_a_bind_that_goes_are_not_reset(start, ports, backend):
    """Those who wait in the accept queue of a socket that closes would be reset; they are served first."""
    host, stays, goes = backend(), ports.free(), ports.free()

    def binds(*numbers):
        return document([{"port": n, "listeners": [{"routes": [to(host)]}]} for n in numbers])

    proxy = start(binds(stays, goes))
    refused = []
    with Load(stays) as load:
        for _ in range(5):
            proxy.reload(binds(stays, goes))
            until(lambda: answers(goes), what="the bind")
            with Load(goes, kept=0, fresh=4, pause=0) as going:
                going.wait_for(50)
                proxy.reload(binds(stays))
                until(lambda: going.failures, what="the port to close")
            refused += going.failures
    assert load.failures == []
    # A port without a listener refuses; a connection that it took is answered: 404, for no listener has this bind.
    wrong = [f for f in refused if "ConnectionRefused" not in f and not f.startswith("404")]
    assert wrong == []


def test_a_long_answer_goes_on(gateway, backend):
    old, new = backend("old"), backend("new")
    proxy = gateway(to(old))
    with Client(proxy.port) as client:
        answer = client.start("/?chunks=20&interval=0.05")
        assert answer.read(8) == b"chunk 0\n"
        proxy.reload(routes(proxy.port, to(new)))
        assert request(proxy.port).json()["backend"] == "new"
        assert answer.read().endswith(b"chunk 19\n")
        assert client.request().json()["backend"] == "new", "the connection lives on with the new configuration"


def test_http2_streams_go_on(gateway, backend):
    old, new = backend("old"), backend("new")
    proxy = gateway(to(old))
    with Http2(proxy.port) as client:
        stream = client.send("/?chunks=20&interval=0.05")
        client.wait(h2.events.DataReceived, stream)
        proxy.reload(routes(proxy.port, to(new)))
        assert b'"new"' in client.request("/")[2]
        assert client.response(stream)[2].endswith(b"chunk 19\n")
        assert not [e for e in client.events if isinstance(e, h2.events.ConnectionTerminated)]


def test_policies_change_without_a_gap(gateway, backend):
    """While one rule is replaced by another, no request passes that both refuse."""
    host = backend()

    def guarded(rule):
        return to(host, policies={"authorization": {"rules": [{"allow": rule}]}})

    proxy = gateway(guarded("request.headers['x-key'] == 'one'"))
    passed = []
    with Load(proxy.port, of=lambda r: r.status) as load:
        for number in range(6):
            proxy.reload(routes(proxy.port, guarded(f"request.headers['x-key'] == '{number}'")))
            until(lambda: len(load.failures) > 20)
            passed += [f for f in load.failures if not f.startswith("403")]
            load.failures.clear()
    assert load.answers[200] == 0 and host.seen == []
    assert passed == []
