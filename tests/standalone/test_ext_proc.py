"""External processing, with a processor on Envoy's own messages: every mode in both directions, what an answer changes, and
what becomes of a request whose processor fails, stalls, floods or contradicts the protocol."""

import base64
import hashlib
import json
import os
import socket

import grpc
import pytest

from support import envoy, grpc_server
from support.echo import headers_of
from support.envoy import EnvoyServices, about, immediate, kinds, option, packed
from support.http1 import Client, Raw
from support.http2 import Http2
from support.proxy import routes, to
from support.wait import until

BODY = base64.b64encode(os.urandom(225_000))
UPPER = {"upper": True}


@pytest.fixture
def host(backend):
    return backend()


@pytest.fixture
def processor(ports):
    service = EnvoyServices(ports)
    yield service
    service.close()


def policy(service, mode=None, **fields):
    mode = {"processingMode": mode} if mode else {}
    # Tests run on busy machines.
    return {"extProc": {"host": getattr(service, "address", service), "messageTimeout": "10s", **mode, **fields}}


@pytest.fixture
def through(gateway, host, processor):
    """Makes a proxy whose one route asks the processor."""

    def make(mode=None, config=None, **fields):
        return gateway(to(host, policies=policy(processor, mode, **fields)), config=config)

    return make


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_headers_are_sent_both_ways_and_changed(through, host, processor):
    proxy = through()
    changed = {"set_headers": [option("x-user", "ada"), option(":path", "/other?b=2")], "remove_headers": ["x-secret"]}
    back = {"set_headers": [option("x-seen", "yes"), option(":status", "207")], "remove_headers": ["x-internal"]}
    processor.script(
        request_headers=about("request_headers", {"header_mutation": changed}),
        response_headers=about("response_headers", {"header_mutation": back}),
    )
    response = proxy.get("/a?header=x-internal:1", headers=[("x-secret", "1"), ("x-many", "1"), ("x-many", "2")])
    assert (response.status, response.header("x-seen"), response.header("x-internal")) == (207, "yes", None)
    assert response.json()["target"] == "/other?b=2"
    headers = headers_of(response.json())
    assert headers["x-user"] == "ada" and "x-secret" not in headers
    (call,) = processor.ended()
    assert (kinds(call), call["end"]) == (["request_headers", "response_headers"], "EOF")
    sent = envoy.headers(call)
    assert (sent[":method"], sent[":path"], sent[":scheme"]) == ("GET", "/a?header=x-internal:1", "http")
    assert sent[":authority"].startswith("127.0.0.1") and "host" not in sent and sent["x-secret"] == "1"
    assert envoy.messages(call, "request_headers")[0]["end_of_stream"]
    assert envoy.headers(call, "response_headers")[":status"] == "200"


def test_how_headers_are_set(through, host, processor):
    proxy = through()
    lines = [
        option("replaced", "new"),
        option("added", "new", append=True),
        option("kept", "new", append_action="ADD_IF_ABSENT"),
        option("made", "new", append_action="ADD_IF_ABSENT"),
        option("only-if-there", "new", append_action="OVERWRITE_IF_EXISTS"),
        option("emptied", ""),
        option("empty", "", keep_empty_value=True),
    ]
    processor.script(request_headers=about("request_headers", {"header_mutation": {"set_headers": lines}}))
    old = [(name, "old") for name in ("replaced", "added", "kept", "emptied", "empty")]
    seen = [(n, v) for n, v in proxy.get(headers=old).json()["headers"] if v in ("old", "new", "")]
    assert sorted(seen) == [("added", "new"), ("added", "old"), ("empty", ""), ("kept", "old"), ("made", "new"), ("replaced", "new")]


@pytest.mark.parametrize("mode", ["BUFFERED", "BUFFERED_PARTIAL", "STREAMED", "FULL_DUPLEX_STREAMED"])
def test_bodies_of_requests(through, host, processor, mode):
    proxy = through({"requestBodyMode": mode, "responseHeaderMode": "SKIP"})
    processor.script(request_body={"stream": True} if mode == "FULL_DUPLEX_STREAMED" else UPPER)
    response = proxy.get("/", "POST", body=BODY).json()
    assert (response["length"], response["sha256"]) == (len(BODY), sha(BODY.upper())), mode
    (call,) = processor.ended()
    assert kinds(call) == ["request_headers", "request_body"]
    pieces = envoy.messages(call, "request_body")
    assert envoy.body(call, "request_body") == BODY
    assert pieces[-1].get("end_of_stream") and not any(p.get("end_of_stream") for p in pieces[:-1])
    assert (len(pieces) == 1) == mode.startswith("BUFFERED")


@pytest.mark.parametrize("mode", ["BUFFERED", "BUFFERED_PARTIAL", "STREAMED", "FULL_DUPLEX_STREAMED"])
def test_bodies_of_responses(through, host, processor, mode):
    proxy = through({"requestHeaderMode": "SKIP", "responseBodyMode": mode})
    processor.script(response_body={"stream": True} if mode == "FULL_DUPLEX_STREAMED" else UPPER)
    for path, expected in (("/?chunks=40", b"".join(b"CHUNK %d\n" % n for n in range(40))), ("/?size=200000", None)):
        response = proxy.get(path)
        plain = host_body(host, path)
        assert response.body == (expected or plain.upper()), (mode, path)
        assert response.header("content-length") in (None, str(len(response.body)))
    calls = processor.ended(2)
    assert {tuple(kinds(call)) for call in calls} == {("response_headers", "response_body")}


def host_body(host, path):
    with Client(host.port) as client:
        return client.request(path).body


def test_a_processor_that_keeps_a_body_until_it_has_all(through, host, processor):
    proxy = through({"requestBodyMode": "FULL_DUPLEX_STREAMED", "responseBodyMode": "FULL_DUPLEX_STREAMED"})
    hold, silent = {"hold": 1000}, {"silent": True}
    processor.script(request_headers=silent, request_body=hold, response_headers=silent, response_body=hold)
    response = proxy.get("/?chunks=3", "POST", body=BODY)
    assert response.body == b"CHUNK 0\nCHUNK 1\nCHUNK 2\n"
    assert host.seen[-1]["sha256"] == sha(BODY.upper())


def test_a_large_body_is_streamed_in_bounded_memory(through, host, processor):
    proxy = through({"requestBodyMode": "STREAMED", "responseHeaderMode": "SKIP"})
    size, piece, digest = 64 << 20, b"x" * 65536, hashlib.sha256()
    with Raw(proxy.port, timeout=120) as client:
        client.send(f"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n")
        for _ in range(size // len(piece)):
            client.send(piece)
            digest.update(piece)
        response = client.read_response()
    assert (response.json()["length"], response.json()["sha256"]) == (size, digest.hexdigest())
    resident = int(next(line.split()[1] for line in open(f"/proc/{proxy.pid}/status") if line.startswith("VmHWM")))
    assert resident < 120_000, f"{resident} KiB"


def test_trailers(through, host, processor):
    modes = {"requestTrailerMode": "SEND", "responseTrailerMode": "SEND"}
    for body_mode in ("NONE", "STREAMED", "BUFFERED", "FULL_DUPLEX_STREAMED"):
        proxy = through({**modes, "requestBodyMode": body_mode, "responseBodyMode": body_mode})
        mutation = {"set_headers": [option("x-checksum", "changed"), option("x-more", "1")]}
        body = {"stream": True} if body_mode == "FULL_DUPLEX_STREAMED" else {}
        processor.script(
            request_trailers=about("request_trailers", mutation),
            response_trailers=about("response_trailers", mutation),
            request_body=body,
            response_body=body,
        )
        with Raw(proxy.port) as client:
            client.send("POST /?chunks=2&trailer=1 HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum, x-more\r\n\r\n")
            client.send("3\r\nabc\r\n0\r\nx-checksum: 1\r\n\r\n")
            assert client.read_head()[0] == 200
            tail = b""
            while not tail.endswith(b"\r\n\r\n"):
                tail += client.read(1)
        assert sorted(map(tuple, host.seen[-1]["trailers"])) == [("x-checksum", "changed"), ("x-more", "1")], body_mode
        assert b"x-checksum: changed" in tail, body_mode
        call = processor.ended()[0]
        asked = [kind for kind in kinds(call) if kind.endswith("trailers")]
        assert asked == ["request_trailers", "response_trailers"], body_mode
        assert envoy.headers(call, "request_trailers") == {"x-checksum": "1"}


def test_bodies_that_are_too_large(through, host, processor):
    proxy = through({"requestBodyMode": "BUFFERED"}, maxBodySize="1Ki")
    assert proxy.get("/", "POST", body=b"x" * 1025).status == 413
    assert proxy.get("/", "POST", body=b"x" * 1024).status == 200
    assert len(host.seen) == 1
    proxy = through({"responseBodyMode": "BUFFERED"}, maxBodySize="1Ki")
    assert proxy.get("/?size=2000").status == 502


def test_of_a_larger_body_the_beginning_is_processed(through, host, processor):
    proxy = through({"requestBodyMode": "BUFFERED_PARTIAL"}, maxBodySize="1Ki")
    processor.script(request_body=UPPER)
    body = b"abcd" * 1000
    assert proxy.get("/", "POST", body=body).json()["sha256"] == sha(body[:1024].upper() + body[1024:])
    (sent,) = envoy.messages(processor.ended()[0], "request_body")
    assert not sent.get("end_of_stream")


def test_an_immediate_answer_to_a_request(through, host, processor):
    proxy = through({"requestBodyMode": "BUFFERED"})
    lines = {"set_headers": [option("x-why", "policy"), option("content-length", "999")]}
    answer = immediate(451, b"not here", headers=lines, details="blocked_by_test")
    for script in ({"request_headers": answer}, {"request_body": answer}):
        processor.script(**script)
        response = proxy.get("/", "POST", body=b"x")
        assert (response.status, response.body, response.header("x-why")) == (451, b"not here", "policy")
        assert kinds(processor.ended()[0])[-1] == next(iter(script))
    assert host.seen == []
    assert any("ext_proc" in line and "blocked_by_test" in line for line in proxy.access_lines("451"))


def test_an_immediate_answer_in_the_middle_of_a_body(through, host, processor):
    for mode in ("STREAMED", "FULL_DUPLEX_STREAMED"):
        proxy = through({"requestBodyMode": mode})
        processor.script(request_body=immediate(403, b"a bad word"))
        response = proxy.get("/", "POST", body=BODY)
        assert (response.status, response.body) == (403, b"a bad word"), mode
    assert host.seen == [], "the backend never got a whole request"


def test_an_immediate_answer_in_the_place_of_a_response(through, host, processor):
    proxy = through({"responseBodyMode": "BUFFERED"})
    for step in ("response_headers", "response_body"):
        processor.script(**{step: immediate(502, b"a leak")})
        response = proxy.get("/?size=5000")
        assert (response.status, response.body) == (502, b"a leak"), step
    proxy = through({"responseBodyMode": "STREAMED"})
    processor.script(response_body=immediate(502, b"a leak"))
    with Raw(proxy.port) as client:
        client.send("GET /?size=500000 HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.read_head()[0] == 200
        assert b"0\r\n\r\n" not in client.read_to_end()[-10:], "a response that has begun is cut"


def test_an_immediate_answer_to_a_grpc_client(gateway, processor, ports):
    server = grpc_server.GrpcServer(ports.free())
    proxy = gateway(to(server.address, policies=policy(processor)))
    processor.script(request_headers=immediate(403, b"no entry", grpc_status={"status": 7}))
    with grpc_server.channel(proxy.port) as channel, pytest.raises(grpc.RpcError) as error:
        grpc_server.method(channel, "Unary")(b"x", timeout=10)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.PERMISSION_DENIED, "no entry")
    server.close()


def test_a_body_in_the_place_of_what_was_there(through, host, processor):
    proxy = through({"requestBodyMode": "STREAMED", "responseBodyMode": "STREAMED"})
    replace = {"status": "CONTINUE_AND_REPLACE", "body_mutation": {"body": packed(b"another")}}
    processor.script(request_headers=about("request_headers", replace), response_headers=about("response_headers", replace))
    response = proxy.get("/?size=5000", "POST", body=BODY)
    assert (response.status, response.body, response.header("content-length")) == (200, b"another", "7")
    assert (host.seen[-1]["length"], headers_of(host.seen[-1])["content-length"]) == (7, "7")
    assert kinds(processor.ended()[0]) == ["request_headers", "response_headers"]


def test_bodies_are_cleared(through, host, processor):
    proxy = through({"requestBodyMode": "BUFFERED", "responseBodyMode": "STREAMED"})
    clear = {"body_mutation": {"clear_body": True}}
    processor.script(request_body=about("request_body", clear), response_body=about("response_body", clear))
    response = proxy.get("/?size=5000", "POST", body=b"abc")
    assert (response.status, response.body, host.seen[-1]["length"]) == (200, b"", 0)


def test_another_mode_for_one_request(through, host, processor):
    mode = {"request_body_mode": "BUFFERED", "response_header_mode": "SKIP", "response_body_mode": "BUFFERED"}
    script = {
        "request_headers": about("request_headers", mode_override=mode),
        "request_body": UPPER,
        "response_body": UPPER,
    }
    for allowed in (True, False):
        proxy = through(allowModeOverride=allowed)
        processor.script(**script)
        response = proxy.get("/?chunks=1", "POST", body=b"abc")
        upper = response.body == b"CHUNK 0\n"
        assert (upper, host.seen[-1]["sha256"] == sha(b"ABC")) == (allowed, allowed)
        expected = ["request_headers", "request_body", "response_body"] if allowed else ["request_headers", "response_headers"]
        assert kinds(processor.ended()[0]) == expected


def test_more_time(through, host, processor):
    slow = [{"sleep": 600}, about("request_headers")]
    more = {"send": {"override_message_timeout": "5s"}}
    proxy = through(messageTimeout="200ms", maxMessageTimeout="10s")
    processor.script(request_headers=[more, *slow], response_headers={})
    # The response's message has the usual time, so the processor must not be late for it by itself.
    until(lambda: proxy.get().status == 200, 20, "an answer within the longer time")
    proxy = through(messageTimeout="200ms", maxMessageTimeout="1s")
    processor.script(request_headers=[more, *slow])
    assert proxy.get().status == 504, "it asks for more than it may"
    proxy = through(messageTimeout="200ms")
    processor.script(request_headers=[more, *slow])
    assert proxy.get().status == 504


def test_what_is_late_or_away_refuses_or_passes(gateway, host, processor, ports):
    mode = {"requestBodyMode": "STREAMED", "responseBodyMode": "STREAMED"}
    free = ports.free()
    for fail_open in (False, True):
        proxy = gateway(
            to(host, matches=[{"path": {"pathPrefix": "/late"}}], policies=policy(processor, mode, messageTimeout="300ms", failOpen=fail_open)),
            to(host, matches=[{"path": {"pathPrefix": "/away"}}], policies=policy(f"127.0.0.1:{free}", mode, failOpen=fail_open)),
            to(host, policies=policy(processor, mode, failOpen=fail_open)),
        )
        processor.script(request_headers={"silent": True})
        late, away = proxy.get("/late", "POST", body=b"abc"), proxy.get("/away", "POST", body=b"abc")
        assert (late.status, away.status) == ((200, 200) if fail_open else (504, 500))
        for step in ("request_headers", "request_body", "response_headers"):
            processor.script(**{step: {"end": envoy.UNAVAILABLE}})
            response = proxy.get("/", "POST", body=b"abc")
            assert response.status == (200 if fail_open else 500), step
        if fail_open:
            assert all(request["sha256"] == sha(b"abc") for request in host.seen[-5:])
        else:
            assert "the request cannot be processed" in late.text and "127.0.0.1" not in away.text
            assert any("ext_proc_error" in line and "300 ms" in line for line in proxy.access_lines("504"))


def test_a_processor_that_wants_to_see_no_more(through, host, processor):
    proxy = through({"requestBodyMode": "STREAMED", "responseBodyMode": "STREAMED"})
    for step in ("request_headers", "request_body", "response_headers", "response_body"):
        processor.script(**{step: {"end": envoy.OK}})
        response = proxy.get("/?chunks=2", "POST", body=BODY)
        assert (response.status, response.body) == (200, b"chunk 0\nchunk 1\n"), step
        assert host.seen[-1]["sha256"] == sha(BODY), step


def test_one_that_ends_with_a_part_of_the_body_does_not_pass(through, host, processor):
    proxy = through({"requestBodyMode": "FULL_DUPLEX_STREAMED"}, failOpen=True)
    processor.script(request_body=[{"stream": True}, {"end": envoy.OK}])
    with Raw(proxy.port) as client:
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc")
        assert client.read_head()[0] == 500
    assert host.seen == []


CONTRADICTIONS = {
    "another direction": about("response_headers"),
    "another part": about("request_body"),
    "a body beside CONTINUE": about("request_headers", {"body_mutation": {"body": packed(b"x")}}),
    "a stream without the mode": about("request_headers", {"status": "CONTINUE_AND_REPLACE", "body_mutation": {"streamed_response": {"body": packed(b"x")}}}),
    "nothing": {"send": {}},
    "an invalid name": about("request_headers", {"header_mutation": {"set_headers": [option("a b", "1")]}}),
    "an invalid value": about("request_headers", {"header_mutation": {"set_headers": [option("a", "1\r\nb: 2")]}}),
    "no path": about("request_headers", {"header_mutation": {"set_headers": [option(":path", "no path")]}}),
    "no status": immediate(99),
    "too many headers": about("request_headers", {"header_mutation": {"set_headers": [option(f"x-{n}", "1") for n in range(300)]}}),
    "too large headers": about("request_headers", {"header_mutation": {"set_headers": [option(f"x-{n}", "1" * 20000) for n in range(5)]}}),
    "a flood": [{**about("request_headers"), "times": 5}, {**about("request_headers"), "times": 50_000}],
    "a flood of requests for time": {"send": {"override_message_timeout": "1s"}, "times": 10_000},
    "a message that is too large": immediate(200, b"x" * (5 << 20)),
    "too much metadata": about("request_headers", dynamic_metadata={"a": {"b": "x" * 100_000}}),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_makes_no_sense_refuses(through, host, processor, name):
    proxy = through()
    step = CONTRADICTIONS[name]
    processor.script(request_headers=step)
    response = proxy.get()
    # Of a flood the first answer is taken, and the response is refused.
    assert response.status == 500 and response.text == "the request cannot be processed", (name, response.status, response.text)
    # And the proxy serves the next request.
    processor.script()
    assert proxy.get().status == 200


def test_framing_host_and_rules_of_headers(through, host, processor):
    lines = [option(n, v) for n, v in (("host", "evil.test"), (":method", "DELETE"), (":authority", "evil.test"), ("transfer-encoding", "chunked"))]
    lines += [option("content-length", "1"), option("connection", "x-user"), option("x-role", "admin"), option("x-user", "ada")]
    mutation = {"header_mutation": {"set_headers": lines, "remove_headers": ["content-length", "host", ":path", "x-kept"]}}
    script = {"request_headers": about("request_headers", mutation)}
    proxy = through(mutationRules={"deny": ["X-Role", "x-kept"]})
    processor.script(**script)
    request = proxy.get("/a", "POST", headers={"host": "shop.test", "x-kept": "1"}, body=b"abc").json()
    headers = headers_of(request)
    assert (request["method"], request["path"], headers["host"], request["length"]) == ("POST", "/a", "shop.test", 3)
    assert headers["x-user"] == "ada" and "x-role" not in headers and headers["x-kept"] == "1"
    proxy = through(mutationRules={"deny": ["x-role"], "deniedIsError": True})
    processor.script(**script)
    assert proxy.get("/a", "POST", body=b"abc").status == 500
    proxy = through(mutationRules={"allowRouting": True, "allow": ["x-user"]})
    routing = [option("host", "other.test"), option(":method", "PUT"), option("x-user", "ada"), option("x-other", "1")]
    processor.script(request_headers=about("request_headers", {"header_mutation": {"set_headers": routing}}))
    request = proxy.get("/a", "POST", body=b"abc").json()
    headers = headers_of(request)
    assert (request["method"], headers["host"], headers["x-user"]) == ("PUT", "other.test", "ada") and "x-other" not in headers


def test_metadata_and_attributes(through, gateway, host, processor):
    rules = {"rules": [{"require": "metadata.guard.score < 5"}]}
    left = {"dynamic_metadata": {"guard": {"score": 3, "labels": ["a", "b"]}}}
    fields = {"requestAttributes": ["request.path", "request.headers['x-none']", "size(request.headers)"], "responseAttributes": ["response.code", "request.path"]}
    listener = policy(processor, **fields)
    transformation = {
        "request": {"set": [{"name": "x-score", "value": "metadata.guard.score"}]},
        "response": {"set": [{"name": "x-labels", "value": "metadata.guard.labels.join('+')"}, {"name": "x-late", "value": "metadata.late.n"}]},
    }
    proxy = gateway(to(host, policies={"authorization": rules, "transformation": transformation}), policies=listener)
    processor.script(
        request_headers=about("request_headers", **left),
        response_headers=about("response_headers", dynamic_metadata={"late": {"n": 1}}),
    )
    response = proxy.get("/path")
    assert response.status == 200, "rules of the route see what the listener's processor leaves"
    assert (headers_of(response.json())["x-score"], response.header("x-labels")) == ("3", "a+b")
    (call,) = processor.ended()
    first, second = (m["attributes"]["envoy.filters.http.ext_proc"] for m in call["messages"])
    assert first["request.path"] == "/path" and "request.headers['x-none']" not in first
    assert second == {"response.code": 200, "request.path": "/path"}
    processor.script(request_headers=about("request_headers", dynamic_metadata={"guard": {"score": 7}}))
    assert proxy.get().status == 403
    processor.script()
    assert proxy.get().status == 403, "without metadata a require rule does not hold"


def test_metadata_is_forwarded(gateway, host, processor):
    first = policy(processor)
    second = policy(processor, metadataOptions={"forwarding": {"untyped": ["guard", "none"]}})
    proxy = gateway(to(host, policies=second), policies=first)
    processor.script(request_headers=about("request_headers", dynamic_metadata={"guard": {"score": 3}, "other": {"x": 1}}))
    assert proxy.get().status == 200
    calls = processor.ended(2)
    contexts = [m.get("metadata_context") for call in calls for m in call["messages"][:1]]
    assert contexts[0] is None and contexts[1] == {"filter_metadata": {"guard": {"score": 3}}}


def test_an_observer_changes_nothing_and_delays_nothing(through, host, processor):
    proxy = through({"requestBodyMode": "STREAMED", "responseBodyMode": "STREAMED"}, observabilityMode=True)
    processor.script(request_headers=immediate(403))
    response = proxy.get("/?chunks=3", "POST", body=BODY)
    assert (response.status, response.body, host.seen[-1]["sha256"]) == (200, b"chunk 0\nchunk 1\nchunk 2\n", sha(BODY))
    (call,) = processor.ended()
    assert kinds(call)[0] == "request_headers" and {"request_body", "response_headers", "response_body"} <= set(kinds(call))
    assert all(message["observability_mode"] for message in call["messages"])
    assert envoy.body(call, "response_body") == b"chunk 0\nchunk 1\nchunk 2\n"


def test_an_observer_that_is_away_is_not_missed(gateway, host, ports):
    proxy = gateway(to(host, policies=policy(f"127.0.0.1:{ports.free()}", {"requestBodyMode": "STREAMED"}, observabilityMode=True)))
    response = proxy.get("/", "POST", body=os.urandom(1 << 20))
    assert (response.status, response.json()["length"]) == (200, 1 << 20)


def test_several_processors_and_responses_that_they_have_not_caused(gateway, host, processor, ports):
    proxy = gateway(
        to(host, matches=[{"path": {"pathPrefix": "/denied"}}], policies={**policy(processor), "authorization": {"rules": [{"deny": "true"}]}}),
        to(matches=[{"path": {"pathPrefix": "/direct"}}], policies={**policy(processor), "directResponse": {"status": 203, "body": "d"}}),
        to(host, policies=policy(processor)),
        policies=policy(processor),
    )
    processor.script(response_headers=about("response_headers", {"header_mutation": {"set_headers": [option("x-by", "1", append=True)]}}))
    assert proxy.get("/").all("x-by") == ["1", "1"]
    assert proxy.get("/denied").all("x-by") == ["1"], "the route's processor has not seen the request"
    response = proxy.get("/direct")
    assert (response.status, response.all("x-by")) == (203, ["1", "1"])


def test_http2_and_heads_without_bodies(through, host, processor):
    proxy = through({"responseBodyMode": "BUFFERED", "requestBodyMode": "FULL_DUPLEX_STREAMED"})
    processor.script(response_body=UPPER, request_body={"stream": True})
    with Http2(proxy.port) as client:
        status, _, body = client.request("/?size=1000", "POST", body=b"abc")
        assert (status, body) == (200, host_body(host, "/?size=1000").upper())
        assert client.request("/?status=204")[0] == 204
        assert client.request("/?size=10", "HEAD")[0] == 200
    assert [kinds(call)[-1] for call in processor.ended(3)] == ["response_body", "response_headers", "response_headers"]


def test_a_backend_that_answers_before_it_has_the_body(gateway, processor, ports):
    """The request's body and the response are processed at one time, over one call."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = gateway(to(f"127.0.0.1:{listener.getsockname()[1]}", policies=policy(processor, {"requestBodyMode": "STREAMED", "responseBodyMode": "BUFFERED"})))
    processor.script(response_body=UPPER)
    with Raw(proxy.port) as client:
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc")
        connection, _ = listener.accept()
        while b"abc" not in connection.recv(1000):
            pass
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly")
        response = client.read_response()
        assert (response.status, response.body) == (200, b"EARLY")
    connection.close()
    listener.close()


def test_a_client_that_leaves_ends_the_call(through, host, processor):
    proxy = through({"requestBodyMode": "STREAMED"})
    with Raw(proxy.port) as client:
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc")
        until(lambda: processor.calls and "request_body" in kinds(processor.calls[0]), 10, "the first piece")
    assert processor.ended()[0]["end"]


def test_every_request_has_a_call_over_one_connection(through, host, processor):
    proxy = through({"requestBodyMode": "BUFFERED"}, config={"workers": 1})
    with Client(proxy.port) as client:
        for _ in range(20):
            assert client.request("/", "POST", body=b"x").status == 200
    assert len(processor.ended(20)) == 20
    open_to = [line for line in open("/proc/net/tcp") if f":{processor.port:04X} " in line.split()[2] + " " and line.split()[3] == "01"]
    assert len(open_to) == 1, open_to


def test_the_dump_names_it(through):
    assert '"extProc"' in json.dumps(through(failOpen=True).dump())
