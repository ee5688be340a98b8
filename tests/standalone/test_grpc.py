"""gRPC through the gateway, with gRPC's own client and server: streams, trailers, statuses, and the gateway's own errors."""

import queue
import time

import grpc
import pytest

from support.grpc_server import GrpcServer, channel, method
from support.proxy import to
from support.wait import until


@pytest.fixture
def server(ports):
    made = []

    def make(name="grpc"):
        made.append(GrpcServer(ports.free(), name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def via(server, **more):
    return {"host": server.address, "appProtocol": "grpc", **more}


def test_unary_calls_with_metadata_and_trailers(gateway, server):
    backend = server()
    proxy = gateway(to(via(backend)))
    with channel(proxy.port) as client:
        answer, call = method(client, "Unary").with_call(b"hello", metadata=[("x-sent", "1")], timeout=10)
    assert answer == b"hello" and ("x-trailer", "grpc") in call.trailing_metadata()
    assert backend.metadata[0]["x-sent"] == "1"


def test_a_servers_error_arrives_as_it_is(gateway, server):
    proxy = gateway(to(via(server())))
    with channel(proxy.port) as client, pytest.raises(grpc.RpcError) as failed:
        method(client, "Fail")(b"", timeout=10)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "not today: 100 %" and ("x-trailer", "grpc") in failed.value.trailing_metadata()


def test_both_sides_stream_at_once(gateway, server):
    proxy = gateway(to(via(server())))
    messages = queue.Queue()
    with channel(proxy.port) as client:
        answers = method(client, "Chat")(iter(messages.get, None), timeout=20)
        # Each answer comes before the next message is sent.
        for n in range(50):
            messages.put(b"%d" % n)
            assert next(answers) == b"re: %d" % n
        messages.put(None)
        assert list(answers) == []


def test_long_streams_each_way(gateway, server):
    proxy = gateway(to(via(server())))
    with channel(proxy.port) as client:
        assert len(list(method(client, "Count")(b"5000", timeout=60))) == 5000
        assert method(client, "Sum")((bytes(10_000) for _ in range(500)), timeout=60) == b"5000000"


def code_of(proxy, name="Unary", service="test.Echo", **options):
    with channel(proxy.port, **options) as client, pytest.raises(grpc.RpcError) as failed:
        method(client, name, service)(b"", timeout=10)
    return failed.value


def test_errors_of_the_gateway_are_grpc_statuses(gateway, server, ports):
    backend = server()
    service = lambda name: {"matches": [{"path": {"pathPrefix": f"/{name}"}}]}  # noqa: E731
    deny = {"authorization": {"rules": [{"deny": "true"}]}}
    limit = {"localRateLimit": [{"maxTokens": 1, "fillInterval": "1h"}]}
    proxy = gateway(
        to(via(backend), **service("test.Echo")),
        to({"host": f"127.0.0.1:{ports.free()}", "appProtocol": "grpc"}, **service("down.Echo")),
        to(via(backend), policies=deny, **service("denied.Echo")),
        to(via(backend), policies=limit, **service("limited.Echo")),
        to(**service("nobackend.Echo"), policies={}),
    )
    unmatched = code_of(proxy, service="unknown.Echo")
    assert unmatched.code() is grpc.StatusCode.UNIMPLEMENTED and unmatched.details() == "no route matches the request"
    assert code_of(proxy, service="down.Echo").code() is grpc.StatusCode.UNAVAILABLE
    assert code_of(proxy, service="denied.Echo").code() is grpc.StatusCode.PERMISSION_DENIED
    code_of(proxy, service="limited.Echo")
    assert code_of(proxy, service="limited.Echo").code() is grpc.StatusCode.UNAVAILABLE
    assert code_of(proxy, service="nobackend.Echo").code() is grpc.StatusCode.UNAVAILABLE
    assert proxy.access_lines("unknown.Echo")


def test_timeouts_and_retries_hold_for_calls(gateway, server, ports):
    backend = server()
    policies = {"retry": {"attempts": 9, "backoff": "1ms"}, "timeout": {"requestTimeout": "5s"}}
    proxy = gateway(to({"host": f"127.0.0.1:{ports.free()}", "appProtocol": "grpc"}, via(backend), policies=policies))
    with channel(proxy.port) as client:
        for n in range(20):
            assert method(client, "Unary")(b"%d" % n, timeout=10) == b"%d" % n


def test_a_late_answer_is_unavailable(gateway, ports):
    import socket

    silent = socket.create_server(("127.0.0.1", ports.free()))
    host = {"host": f"127.0.0.1:{silent.getsockname()[1]}", "appProtocol": "grpc"}
    proxy = gateway(to(host, policies={"timeout": {"requestTimeout": "300ms"}}))
    start = time.monotonic()
    assert code_of(proxy).code() is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - start < 3
    silent.close()


def test_calls_are_mirrored(gateway, server):
    main, copy = server("main"), server("copy")
    policies = {"requestMirror": {"backend": {"host": copy.address, "appProtocol": "grpc"}}}
    proxy = gateway(to(via(main), policies=policies))
    with channel(proxy.port) as client:
        answer, call = method(client, "Unary").with_call(b"hello", metadata=[("x-sent", "1")], timeout=10)
    assert answer == b"hello" and ("x-trailer", "main") in call.trailing_metadata()
    until(lambda: copy.metadata)
    assert copy.metadata[0]["x-sent"] == "1"


def test_weights_hold_for_calls_of_one_connection(gateway, server):
    """gRPC clients keep one connection; each call is its own request."""
    shares = [server("one"), server("two")]
    proxy = gateway(to(*[via(each) for each in shares]))
    with channel(proxy.port) as client:
        for _ in range(60):
            method(client, "Unary")(b"", timeout=10)
    assert all(len(each.metadata) > 10 for each in shares)
