"""A picker of another process, on Envoy's own messages: what it says is done, and what becomes of requests when it says nothing,
nonsense, or is gone."""

import json

import pytest

from support.envoy import EnvoyServices, about, body, headers, immediate, kinds, messages, option, packed
from support.http1 import request
from support.model_server import chat

DESTINATION = "x-gateway-destination-endpoint"
# Gives each piece of a body back.
GIVE = {"give": True}
DROPPED = "x-llm-d-request-dropped-reason"


@pytest.fixture
def picker(ports):
    service = EnvoyServices(ports)
    yield service
    service.close()


@pytest.fixture
def pick(pool, picker):
    """Starts a proxy whose pool asks the picker."""

    def make(models, mode="FailClose", address=None, **fields):
        return pool(models, externalPicker={"host": address or picker.address, "failureMode": mode}, **fields)

    return make


def names(*ports, metadata=True, header=True, answer="request_headers"):
    """The step that names these endpoints."""
    text = ",".join(f"127.0.0.1:{port}" for port in ports)
    mutation = {"set_headers": [option(DESTINATION, text)]} if header else {}
    left = {"dynamic_metadata": {"envoy.lb": {DESTINATION: text}}} if metadata else {}
    return about(answer, {"header_mutation": mutation}, **left)


def script(picker, *steps, **more):
    """A picker that waits for the whole body before it answers, as those that read the prompt do."""
    more = {"request_body": [*steps, GIVE], "response_body": GIVE, **more}
    picker.script(request_headers={"silent": True}, **more)


@pytest.mark.parametrize("places", [{}, {"metadata": False}, {"header": False}])
def test_the_endpoint_that_is_named_gets_the_request(servers, picker, pick, places):
    models = servers(3)
    proxy = pick(models)
    for port in models.ports:
        script(picker, names(port, **places))
        answer = chat(proxy.port, "hello")
        assert (answer.status, answer.served_by) == (200, port), answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        assert "external-picker" in answer.header("x-choice")
        (call,) = picker.ended()
        assert kinds(call) == ["request_headers", "request_body", "response_headers", "response_body"]
        assert json.loads(body(call, "request_body"))["messages"][0]["content"] == "hello"
        assert json.loads(body(call, "response_body"))["model"] == "base"
        assert messages(call, "request_body")[-1]["end_of_stream"]
        (served,) = [m for m in call["messages"] if "response_headers" in m]
        assert served["metadata_context"]["filter_metadata"]["envoy.lb"] == {f"{DESTINATION}-served": f"127.0.0.1:{port}"}


def test_pieces_that_are_acknowledged_come_back_as_they_were(servers, picker, pick):
    models = servers(2, kv_cache_size=100000)
    proxy = pick(models)
    picker.script(request_headers=names(models.ports[1]))
    long = "word " * 60000
    answer = chat(proxy.port, long, timeout=30)
    assert (answer.status, answer.served_by) == (200, models.ports[1]), answer.text
    (call,) = picker.ended()
    assert len(messages(call, "request_body")) > 1
    assert json.loads(body(call, "request_body"))["messages"][0]["content"] == long
    assert json.loads(body(call, "response_body")) == answer.json()


def test_a_streamed_answer_passes_the_picker(servers, picker, pick):
    models = servers(2)
    proxy = pick(models)
    script(picker, names(models.ports[0]))
    answer = chat(proxy.port, "hello", stream=True)
    assert answer.status == 200 and answer.text.rstrip().endswith("data: [DONE]")
    (call,) = picker.ended()
    assert body(call, "response_body").decode() == answer.text


def test_the_next_of_the_list_is_used_when_the_first_is_gone(servers, ports, picker, pick):
    models = servers(2)
    gone = ports.free()
    hosts = [{"host": "127.0.0.1", "port": port} for port in (gone, *models.ports)]
    proxy = pick(hosts)
    script(picker, names(gone, models.ports[1]))
    answer = chat(proxy.port, "hello")
    assert (answer.status, answer.served_by) == (200, models.ports[1])
    assert "fallback" in answer.header("x-choice")
    (call,) = picker.ended()
    served = next(m["metadata_context"]["filter_metadata"]["envoy.lb"] for m in call["messages"] if "response_headers" in m)
    assert served == {f"{DESTINATION}-served": f"127.0.0.1:{models.ports[1]}"}


def test_a_client_names_no_endpoint(servers, picker, pick):
    models = servers(2)
    proxy = pick(models)
    script(picker, names(models.ports[0]))
    answer = chat(proxy.port, "hello", headers={DESTINATION: f"127.0.0.1:{models.ports[1]}"})
    assert answer.served_by == models.ports[0]
    (call,) = picker.ended()
    assert DESTINATION not in headers(call)
    # Nor does it when the picker says nothing.
    script(picker, about("request_headers"))
    assert chat(proxy.port, "hello", headers={DESTINATION: f"127.0.0.1:{models.ports[1]}"}).status == 503


@pytest.mark.parametrize("status", [429, 503])
def test_the_picker_answers_itself(servers, picker, pick, status):
    proxy = pick(servers(2), mode="FailOpen")
    script(picker, immediate(status, b"not now"))
    answer = chat(proxy.port, "hello")
    assert (answer.status, answer.text) == (status, "not now")
    assert proxy.metric("agentgateway_inference_picker_answers_total") == 1


def test_the_picker_changes_the_model(servers, picker, pick):
    models = servers(2)
    proxy = pick(models)
    new = json.dumps({"model": "base", "messages": [{"role": "user", "content": "other"}], "max_tokens": 1}).encode()
    piece = {"body_mutation": {"streamed_response": {"body": packed(new), "end_of_stream": True}}}
    picker.script(request_headers={"silent": True}, request_body=[names(models.ports[0]), about("request_body", piece)])
    assert chat(proxy.port, "hello", model="alias").json()["model"] == "base"


BAD = {
    "says nothing of endpoints": [about("request_headers")],
    "names one that is not of the pool": [names(1)],
    "names what is no address": [about("request_headers", {"header_mutation": {"set_headers": [option(DESTINATION, "pod-1")]}})],
    "contradicts itself": [
        about(
            "request_headers",
            {"header_mutation": {"set_headers": [option(DESTINATION, "127.0.0.1:1")]}},
            dynamic_metadata={"envoy.lb": {DESTINATION: "127.0.0.1:2"}},
        )
    ],
    "ends the call": [{"end": 14}],
    "answers about something else": [about("response_headers")],
}


@pytest.mark.parametrize("what", BAD)
def test_a_picker_that_fails(servers, picker, pick, what):
    models = servers(2)
    script(picker, *BAD[what])
    answer = chat(pick(models).port, "hello")
    assert (answer.status, answer.header(DROPPED)) == (503, "rejected-no-picker"), answer.text
    proxy = pick(models, mode="FailOpen")
    assert chat(proxy.port, "hello").status == 200
    assert proxy.metric("agentgateway_inference_picker_failures_total") == 1


def test_a_picker_that_is_gone(servers, ports, pick):
    models, nobody = servers(2), f"127.0.0.1:{ports.free()}"
    assert chat(pick(models, address=nobody).port, "hello").status == 503
    proxy = pick(models, mode="FailOpen", address=nobody)
    assert {chat(proxy.port, f"{n}").status for n in range(20)} == {200}


def test_requests_without_a_body(servers, picker, pick):
    models = servers(2)
    proxy = pick(models)
    picker.script(request_headers=names(models.ports[1]), response_body=GIVE)
    answer = request(proxy.port, "/v1/models")
    assert answer.status == 200 and int(answer.header("x-inference-port")) == models.ports[1]
