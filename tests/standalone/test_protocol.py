"""HTTP on the wire: versions, framing, limits, and requests that two parsers could read differently."""

import h2.errors
import h2.events
import h2.exceptions
import pytest

from support.echo import headers_of
from support.http1 import Client, Raw, request
from support.http2 import Http2
from support.proxy import to


@pytest.fixture
def host(backend):
    return backend()


@pytest.fixture
def proxy(gateway, host):
    return gateway(to(host))


def send(proxy, text):
    """The status that these bytes get."""
    with Raw(proxy.port) as raw:
        raw.send(text.replace("\n", "\r\n"))
        return raw.read_head()[0]


def test_http11_keeps_the_connection(proxy):
    with Client(proxy.port) as client:
        assert [client.request().status for _ in range(3)] == [200] * 3
    assert proxy.metric("agentgateway_downstream_accepted_total") == 1


def test_connection_close_is_obeyed(proxy):
    with Raw(proxy.port) as raw:
        raw.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert raw.read_response().status == 200
        assert raw.read_to_end() == b""


def test_pipelined_requests_are_answered_in_order(proxy):
    with Raw(proxy.port) as raw:
        raw.send("GET /1?delay=0.1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
        assert [raw.read_response().json()["path"] for _ in range(2)] == ["/1", "/2"]


def test_http10(proxy):
    with Raw(proxy.port) as raw:
        raw.send("GET /old HTTP/1.0\r\n\r\n")
        status, headers, head = raw.read_head()
        body = raw.read_to_end()
    assert status == 200 and b'"/old"' in body
    assert b"chunked" not in head, "HTTP/1.0 has no chunks"
    assert headers.get("connection", "close") == "close"


def test_http10_gets_a_chunked_answer_as_a_whole(proxy):
    with Raw(proxy.port) as raw:
        raw.send("GET /?chunks=3 HTTP/1.0\r\n\r\n")
        _, headers, _ = raw.read_head()
        assert "transfer-encoding" not in headers
        assert raw.read_to_end() == b"chunk 0\nchunk 1\nchunk 2\n"


def test_http2_without_tls(proxy, host):
    with Http2(proxy.port) as client:
        streams = [client.send(f"/{n}?delay=0.1", headers=[("x-n", str(n))]) for n in range(10)]
        answers = [client.response(stream) for stream in streams]
    assert [status for status, _, _ in answers] == [200] * 10
    assert {r["path"] for r in host.seen} == {f"/{n}" for n in range(10)}
    assert all(r["version"] == "1.1" and headers_of(r)["host"] == "any.test" for r in host.seen)
    assert proxy.metric("agentgateway_downstream_accepted_total") == 1


def test_http2_bodies_both_ways(proxy):
    with Http2(proxy.port) as client:
        stream = client.send("/?size=300000", "POST", body=b"x" * 16000)
        status, headers, body = client.response(stream)
    assert (status, headers["content-length"], len(body)) == (200, "300000", 300000)


def test_http2_cookies_are_one_header_for_the_backend(proxy, host):
    with Http2(proxy.port) as client:
        client.request(headers=[("cookie", "a=1"), ("cookie", "b=2")])
    assert [v for n, v in host.seen[0]["headers"] if n == "cookie"] == ["a=1; b=2"]


def test_http2_stream_that_the_client_resets_ends_at_the_backend(proxy, host):
    from support.wait import until

    with Http2(proxy.port) as client:
        stream = client.send("/?chunks=0&interval=0.01")
        client.wait(h2.events.DataReceived, stream)
        client.connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        until(lambda: host.open_connections() == 0, what="the backend's connection to close")
        assert client.request("/")[0] == 200


def test_absolute_form(proxy, host):
    with Raw(proxy.port) as raw:
        raw.send("GET http://absolute.test:81/x?y=1 HTTP/1.1\r\nhost: other.test\r\n\r\n")
        got = raw.read_response().json()
    assert got["target"] == "/x?y=1" and headers_of(got)["host"] == "absolute.test:81"


def test_absolute_form_is_what_is_routed_by(gateway, backend):
    proxy = gateway(to(backend("right"), hostnames=["absolute.test"]), to(backend("wrong"), hostnames=["other.test"]))
    with Raw(proxy.port) as raw:
        raw.send("GET http://absolute.test/ HTTP/1.1\r\nhost: other.test\r\n\r\n")
        assert raw.read_response().json()["backend"] == "right"


AMBIGUOUS = {
    "two Hosts": "GET / HTTP/1.1\nhost: a\nhost: b\n\n",
    "no Host": "GET / HTTP/1.1\n\n",
    "two lengths": "POST / HTTP/1.1\nhost: a\ncontent-length: 3\ncontent-length: 4\n\nabcd",
    "negative length": "POST / HTTP/1.1\nhost: a\ncontent-length: -1\n\n",
    "length with sign": "POST / HTTP/1.1\nhost: a\ncontent-length: +3\n\nabc",
    "space before colon": "POST / HTTP/1.1\nhost: a\ncontent-length : 3\n\nabc",
    "folded header": "GET / HTTP/1.1\nhost: a\nx-a: 1\n x: 2\n\n",
    "unknown coding": "POST / HTTP/1.1\nhost: a\ntransfer-encoding: xchunked\n\n0\n\n",
    "chunked not last": "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked, gzip\n\n0\n\n",
    "NUL in a header": "GET / HTTP/1.1\nhost: a\nx-a: \0\n\n",
    "space in the name": "GET / HTTP/1.1\nhost: a\nx a: 1\n\n",
    "CONNECT": "CONNECT a.test:443 HTTP/1.1\nhost: a.test:443\n\n",
    "userinfo in Host": "GET / HTTP/1.1\nhost: user@a.test\n\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_requests_are_refused(proxy, host, name):
    assert send(proxy, AMBIGUOUS[name]) == 400
    assert host.seen == []


LENGTH_AND_CHUNKS = {
    order: f"POST /outer HTTP/1.1\nhost: a\n{fields}\n\n5\nhello\n0\n\nGET /inner HTTP/1.1\nhost: a\n\n"
    for order, fields in {
        "length first": "content-length: 6\ntransfer-encoding: chunked",
        "chunks first": "transfer-encoding: chunked\ncontent-length: 6",
    }.items()
}


@pytest.mark.parametrize("order", LENGTH_AND_CHUNKS)
def test_length_and_chunks_together_end_the_connection(proxy, order):
    """The classic of request smuggling (RFC 9112 §6.1): two servers could disagree where the request ends, so that it is
    refused, or read by its chunks and the last of its connection."""
    with Raw(proxy.port) as raw:
        raw.send(LENGTH_AND_CHUNKS[order].replace("\n", "\r\n"))
        raw.socket.settimeout(2)
        assert raw.read_head()[0] in (200, 400)
        assert b"/inner" not in raw.read_to_end()


@pytest.mark.parametrize("order", LENGTH_AND_CHUNKS)
def test_length_and_chunks_never_both_reach_the_backend(proxy, host, order):
    with Raw(proxy.port) as raw:
        raw.send(LENGTH_AND_CHUNKS[order].replace("\n", "\r\n"))
        raw.read_response()
    (outer,) = [r for r in host.seen if r["path"] == "/outer"]
    assert outer["length"] == 5
    assert not {"content-length", "transfer-encoding"} <= set(headers_of(outer))


def test_http2_cannot_smuggle_into_http11(proxy, host):
    with Http2(proxy.port) as client:
        client.connection.config.validate_outbound_headers = False
        client.connection.config.normalize_outbound_headers = False
        try:
            stream = client.send("/", "POST", headers=[("transfer-encoding", "chunked")], body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
            client.wait(h2.events.StreamReset, stream)
        except (AssertionError, ConnectionError):
            pass
    assert [r["path"] for r in host.seen if r["path"] == "/smuggled"] == []
    assert all("chunked" not in headers_of(r).get("transfer-encoding", "") or r["length"] for r in host.seen)


def test_a_head_that_is_too_large_gets_431(proxy, host):
    assert send(proxy, "GET / HTTP/1.1\nhost: a\nx-a: " + "x" * 200_000 + "\n\n") == 431
    assert send(proxy, "GET / HTTP/1.1\nhost: a\nx-a: " + "x" * 30_000 + "\n\n") == 200
    assert len(host.seen) == 1


def test_too_many_headers_get_431(proxy, host):
    many = "".join(f"x-{n}: 1\n" for n in range(200))
    assert send(proxy, f"GET / HTTP/1.1\nhost: a\n{many}\n") == 431
    assert host.seen == []


def test_http2_header_list_is_limited(proxy, host):
    with Http2(proxy.port) as client:
        try:
            status, _, _ = client.request(headers=[(f"x-{n}", "x" * 1000) for n in range(100)])
        except (AssertionError, ConnectionError, h2.exceptions.ProtocolError):
            status = None
    assert status in (None, 431)
    assert host.seen == []


def test_expect_100_continue(proxy, host):
    with Raw(proxy.port) as raw:
        raw.send("POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        assert raw.read_head()[0] == 100
        raw.send("hello")
        response = raw.read_response()
    assert response.status == 200 and response.json()["length"] == 5


def test_expect_100_continue_of_a_refused_request(gateway, backend):
    """Who is refused by the head alone need not send the body."""
    proxy = gateway(to(backend(), policies={"authorization": {"rules": [{"deny": "true"}]}}))
    with Raw(proxy.port) as raw:
        raw.send("POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\nexpect: 100-continue\r\n\r\n")
        assert raw.read_head()[0] == 403


def test_a_refused_request_keeps_the_connection(gateway, backend):
    """Its body, which comes in a packet of its own, is read and forgotten."""
    proxy = gateway(to(backend(), policies={"authorization": {"rules": [{"deny": "request.method == 'POST'"}]}}))
    with Client(proxy.port) as client:
        for _ in range(20):
            assert client.request(method="POST", body=b"x" * 1000).status == 403
            assert client.request().status == 200
    assert proxy.metric("agentgateway_downstream_accepted_total") == 1


def test_a_refused_upload_gets_its_answer(gateway, backend):
    """A reset, which unread bytes cause, could overtake it."""
    proxy = gateway(to(backend(), policies={"authorization": {"rules": [{"deny": "true"}]}}))
    for _ in range(5):
        assert proxy.get(method="POST", body=bytes(5 << 20)).status == 403


def test_chunked_requests_and_responses(proxy):
    with Raw(proxy.port) as raw:
        raw.send("POST /up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n")
        assert raw.read_response().json()["length"] == 7
    with Client(proxy.port) as client:
        response = client.request("/?chunks=3")
        assert response.header("transfer-encoding") == "chunked" and response.body == b"chunk 0\nchunk 1\nchunk 2\n"
        assert client.request().status == 200, "the connection is usable after it"


def test_chunks_arrive_as_they_are_sent(proxy):
    with Client(proxy.port) as client:
        answer = client.start("/?chunks=0&interval=0.2")
        assert answer.read(8) == b"chunk 0\n", "the stream never ends, and its first chunk is there"


def test_head_204_and_304_have_no_body(proxy):
    with Client(proxy.port) as client:
        head = client.request("/?size=1234", "HEAD")
        assert (head.status, head.header("content-length"), head.body) == (200, "1234", b"")
        assert client.request("/?status=204").status == 204
        not_modified = client.request('/?status=304&header=etag:%22x%22')
        assert (not_modified.status, not_modified.header("etag"), not_modified.body) == (304, '"x"', b"")
        assert client.request().status == 200, "the connection is usable after them"


def test_trailers_of_a_response(proxy):
    """Sent to those who said that they take trailers (RFC 9110 §6.5.1)."""
    with Raw(proxy.port) as raw:
        raw.send("GET /?chunks=1&trailer=1 HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close, te\r\n\r\n")
        assert raw.read_head()[0] == 200
        assert b"x-checksum: 42" in raw.read_to_end().lower()


def test_trailers_of_a_response_over_http2(proxy):
    with Http2(proxy.port) as client:
        stream = client.send("/?chunks=1&trailer=1", headers=[("te", "trailers")])
        client.response(stream)
        trailers = client.wait(h2.events.TrailersReceived, stream)
    assert ("x-checksum", "42") in list(trailers.headers)


def test_methods_and_statuses_of_others_pass(proxy):
    for method in ("PATCH", "DELETE", "PROPFIND", "OPTIONS"):
        assert request(proxy.port, method=method).json()["method"] == method
    for status in (201, 302, 404, 418, 429, 500, 503, 599):
        assert request(proxy.port, f"/?status={status}").status == status


def test_a_client_that_goes_ends_the_request_at_the_backend(proxy, host):
    from support.wait import until

    with Client(proxy.port) as client:
        client.start("/?chunks=0&interval=0.01").read(8)
    until(lambda: host.open_connections() == 0, what="the backend's connection to close")


def test_a_slow_head_holds_up_nobody(proxy):
    """The minute that a head may take is not waited for here."""
    with Raw(proxy.port) as slow:
        slow.send("GET / HTTP/1.1\r\nhost: a\r\nx-a: ")
        for _ in range(8):
            assert proxy.get().status == 200
        slow.send("1\r\n\r\n")
        assert slow.read_response().status == 200


def test_a_client_that_says_nothing_is_dropped_at_drain(proxy):
    with Raw(proxy.port) as silent:
        proxy.terminate()
        assert silent.read_to_end() == b""
    assert proxy.wait() == 0
