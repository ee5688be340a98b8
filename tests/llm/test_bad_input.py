"""What is wrong on either side is answered in the shape of the client's API, with a status and a message that help."""

import json
import threading

import pytest

from support.http1 import Client, Raw
from support.llm_clients import one
from support.llm_provider import Reply, chat_completion, events, whole

CHAT, MESSAGES, GEMINI = "/v1/chat/completions", "/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent"
GOOD = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}


def post(proxy, path, body, headers=()):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return proxy.get(path, "POST", [("content-type", "application/json"), *headers], body)


def message_of(path, value):
    """The error's text, where the API has it."""
    if path == MESSAGES:
        assert value["type"] == "error" and value["error"]["type"]
    if path == GEMINI:
        assert value["error"]["code"] and value["error"]["status"]
    if path == CHAT:
        assert {"message", "type", "param", "code"} <= value["error"].keys()
    return value["error"]["message"]


@pytest.fixture
def served(gateway, provider):
    """A gateway whose provider's answer can be changed."""
    stand_in = provider(whole(chat_completion()))
    return gateway(one({"openAI": {}}, stand_in)), stand_in


@pytest.mark.parametrize("path", [CHAT, MESSAGES, GEMINI])
@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'{"model":"m"', b'\xff\xfe{}', b'{"model":"m","messages":"\xc3"}'])
def test_a_body_that_is_none(served, path, body):
    proxy, stand_in = served
    response = post(proxy, path, body)
    assert response.status == 400 and response.header("content-type") == "application/json"
    assert message_of(path, response.json())
    assert not stand_in.seen


@pytest.mark.parametrize("change", [{"model": 5}, {"model": None}, {"stream": "yes"}, {"max_tokens": "many"}, {"max_tokens": -1}])
def test_wrong_types(served, change):
    proxy, stand_in = served
    response = post(proxy, CHAT, {**GOOD, **change})
    assert response.status == 400, response.text
    assert next(iter(change)) in message_of(CHAT, response.json())
    assert not stand_in.seen


@pytest.mark.parametrize("path", [CHAT, MESSAGES, GEMINI])
def test_a_body_that_is_too_large(served, path):
    proxy, stand_in = served
    with Raw(proxy.port) as client:
        client.send(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {33 << 20}\r\nexpect: 100-continue\r\n\r\n")
        status, headers, _ = client.read_head()
        body = json.loads(client.read(int(headers["content-length"])))
    assert status == 413
    assert "32 MiB" in message_of(path, body)
    assert not stand_in.seen


def test_compressed_bodies_are_refused(served):
    proxy, _ = served
    response = post(proxy, CHAT, GOOD, [("content-encoding", "gzip")])
    assert response.status == 400 and "compressed" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("reply", [
    Reply(b"<html>no</html>", 200, "text/html"), Reply(b'{"id":', 200), Reply(b"\xc3", 200), Reply(b"", 200),
    Reply(b'{"id":"x', 200, cut=True), Reply(b"", 302, headers=[("location", "http://example.com/")]),
], ids=["html", "half json", "half utf-8", "nothing", "cut", "redirect"])
def test_answers_that_are_none(served, path, reply):
    proxy, stand_in = served
    stand_in.answer = lambda _: reply
    response = post(proxy, path, GOOD)
    assert response.status == 502 and response.header("content-type") == "application/json"
    assert "html" not in message_of(path, response.json())


def test_a_providers_page_of_an_error_keeps_its_status(served):
    proxy, stand_in = served
    stand_in.answer = lambda _: Reply(b"<html>limit</html>", 429, "text/html")
    response = post(proxy, CHAT, GOOD)
    assert response.status == 429 and message_of(CHAT, response.json())


def test_a_provider_that_cannot_be_reached(served):
    proxy, stand_in = served
    stand_in.close()
    response = post(proxy, MESSAGES, GOOD)
    assert response.status == 503
    assert stand_in.address not in message_of(MESSAGES, response.json())


def test_an_endless_answer_is_cut_off(served):
    proxy, stand_in = served
    piece = b'"' + b"x" * (1 << 20) + b'",'
    stand_in.answer = lambda _: Reply([b"["] + [piece] * 40)
    response = post(proxy, CHAT, GOOD)
    assert response.status == 502 and "too large" in response.json()["error"]["message"]


def test_an_endless_event_is_cut_off(served):
    proxy, stand_in = served
    first = events([{"id": "1", "choices": []}]).pieces
    stand_in.answer = lambda _: Reply(first + [b"data: "] + [b"x" * (1 << 20)] * 20, content_type="text/event-stream")
    response = post(proxy, CHAT, {**GOOD, "stream": True})
    assert response.status == 200 and '"error"' in response.text and len(response.body) < 1 << 16


def test_a_client_that_leaves_frees_the_provider(served):
    proxy, stand_in = served
    hold = threading.Event()
    stand_in.answer = lambda _: Reply(events([{"id": "1", "choices": []}]).pieces, content_type="text/event-stream", hold=hold)
    body = json.dumps({**GOOD, "stream": True}).encode()
    with Client(proxy.port) as client:
        assert client.start(CHAT, "POST", body=body).status == 200
    line = proxy.access_lines("gen_ai.request.model")[0]
    assert "200" in line
    hold.set()


def test_no_key_to_pass_on(gateway, provider):
    stand_in = provider(whole(chat_completion()))
    proxy = gateway(one({"openAI": {}}, stand_in, {"backendAuth": {"passthrough": {}}}))
    response = post(proxy, CHAT, GOOD)
    assert response.status == 401 and "API key" in message_of(CHAT, response.json())
    assert not stand_in.seen
