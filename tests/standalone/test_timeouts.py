"""Timeouts: of the whole request, of one try, which setting counts, and what is cut."""

import time

import pytest

from support.http1 import Client, Raw
from support.http2 import Http2
from support.proxy import to
from support.wait import until


@pytest.fixture
def host(backend):
    return backend()


def timed(proxy, *arguments, **options):
    start = time.monotonic()
    response = proxy.get(*arguments, **options)
    return response, time.monotonic() - start


@pytest.mark.parametrize("field", ["requestTimeout", "backendRequestTimeout"])
def test_a_late_answer_is_504(gateway, host, field):
    proxy = gateway(to(host, policies={"timeout": {field: "300ms"}}))
    assert proxy.get().status == 200
    response, took = timed(proxy, "/?delay=3")
    assert response.status == 504 and 0.25 < took < 1.5
    # The backend is not waited for: its connection is closed.
    until(lambda: host.open_connections() <= 1, what="the connection is closed")
    line, = proxy.access_lines("delay=3|status=504|504")[:1]
    assert "timeout" in line


@pytest.mark.parametrize("field", ["requestTimeout", "backendRequestTimeout"])
def test_zero_is_no_timeout_also_over_a_listeners(gateway, host, field):
    proxy = gateway(
        to(host, policies={"timeout": {field: "0s"}}, matches=[{"path": {"pathPrefix": "/unlimited"}}]),
        to(host),
        policies={"timeout": {field: "300ms"}},
    )
    assert proxy.get("/unlimited?delay=1").status == 200
    assert proxy.get("/?delay=1").status == 504


def test_the_most_specific_setting_of_each_field_counts(gateway, host):
    reference = {"host": host.address, "policies": {"timeout": {"backendRequestTimeout": "5s"}}}
    proxy = gateway(
        to(reference, policies={"timeout": {"backendRequestTimeout": "200ms"}}),
        policies={"timeout": {"requestTimeout": "1s"}},
    )
    assert proxy.get("/?delay=0.5").status == 200, "the reference is more specific than the route"
    response, took = timed(proxy, "/?delay=4")
    assert response.status == 504 and 0.9 < took < 2.5, "the listener's other field holds"


def test_a_response_that_has_begun_is_cut(gateway, host):
    proxy = gateway(to(host, policies={"timeout": {"requestTimeout": "600ms"}}))
    start = time.monotonic()
    with Raw(proxy.port) as raw:
        raw.send("GET /?chunks=0&interval=0.05 HTTP/1.1\r\nhost: a\r\n\r\n")
        assert raw.read_head()[0] == 200
        body = raw.read_to_end()
    assert 0.5 < time.monotonic() - start < 2
    assert b"chunk 3" in body and not body.endswith(b"0\r\n\r\n"), "not taken for complete"
    assert any("timeout" in line for line in proxy.access_lines("response_broken"))


def test_the_head_alone_is_bounded_by_the_timeout_of_a_try(gateway, host):
    proxy = gateway(to(host, policies={"timeout": {"backendRequestTimeout": "300ms"}}))
    response = proxy.get("/?chunks=12&interval=0.1")
    assert response.status == 200 and response.text.endswith("chunk 11\n")


def test_a_slow_upload_ends_with_504_and_the_answer_arrives(gateway, host):
    proxy = gateway(to(host, policies={"timeout": {"requestTimeout": "400ms"}}))
    with Raw(proxy.port) as raw:
        raw.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n" + "x" * 10)
        status, _, _ = raw.read_head()
        assert status == 504


def test_http2_streams_are_timed_each_by_itself(gateway, host):
    proxy = gateway(to(host, policies={"timeout": {"requestTimeout": "500ms"}}))
    with Http2(proxy.port) as client:
        slow, quick = client.send("/?delay=3"), client.send("/?delay=0.1")
        assert client.response(quick)[0] == 200
        assert client.response(slow)[0] == 504


def test_a_connection_is_kept_after_a_timeout(gateway, host):
    proxy = gateway(to(host, policies={"timeout": {"requestTimeout": "300ms"}}))
    with Client(proxy.port) as client:
        assert [client.request(path).status for path in ("/?delay=2", "/", "/?delay=2", "/")] == [504, 200, 504, 200]
    assert proxy.metric("agentgateway_downstream_accepted_total") == 1


def test_a_try_may_not_last_longer_than_the_request(start, ports):
    from support.proxy import routes

    text = routes(ports.free(), to("127.0.0.1:1", policies={"timeout": {"requestTimeout": "1s", "backendRequestTimeout": "2s"}}))
    proxy = start(text, ready=False)
    assert proxy.wait() != 0
    assert any("timeout.backendRequestTimeout" in line for line in proxy.err)


def test_a_response_that_does_not_move_is_cut_and_one_that_does_is_not(gateway, backend):
    proxy = gateway(to(backend(), policies={"timeout": {"streamIdleTimeout": "400ms"}}))
    assert proxy.get("/?chunks=5&interval=0.2").text.count("chunk") == 5, "longer than the timeout, but it moves"
    with Client(proxy.port) as client:
        response = client.start("/?chunks=3&interval=1.5")
        start = time.monotonic()
        with pytest.raises(Exception):
            response.read()
        assert time.monotonic() - start < 1.2
