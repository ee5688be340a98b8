"""What clients get is what their own libraries read: openai, anthropic and google-genai get the answers and streams of the
golden files from a transport in their own process."""

import json

import httpx2
import openai
import pytest
from llm.golden import CLIENTS, PROVIDERS, cases, inputs, provider_streams, streams

# Answers that are errors.
FAILED = {"failed", "malformed"}
# Streams that end with an error.
BROKEN = {"failed", "malformed", "error", "cut"}


def answering(body, status=200, kind="application/json"):
    """A client of HTTP that gets this answer, whatever it asks."""
    def answer(_request):
        return httpx2.Response(status, content=body, headers={"content-type": kind})

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def openai_client(http):
    return openai.OpenAI(api_key="k", base_url="http://127.0.0.1/v1", http_client=http, max_retries=0)


def anthropic_client(http):
    import anthropic

    return anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1", http_client=http, max_retries=0)


def gemini_client(body, status=200, kind="application/json"):
    """google-genai takes no foreign client of this library; it is given a transport instead."""
    from google import genai

    def answer(_request):
        return httpx2.Response(status, content=body, headers={"content-type": kind})

    options = genai.types.HttpOptions(base_url="http://127.0.0.1", client_args={"transport": httpx2.MockTransport(answer)})
    return genai.Client(api_key="k", http_options=options)


MESSAGES = [{"role": "user", "content": "Hi"}]


def whole(client, body, status=200):
    """Text, calls (name and arguments) and tokens of an answer, as the library reads it."""
    if client == "openai-chat":
        answer = openai_client(answering(body, status)).chat.completions.create(model="m", messages=MESSAGES)
        message = answer.choices[0].message
        calls = [(c.function.name, json.loads(c.function.arguments or "null")) for c in message.tool_calls or []]
        return (message.content or message.refusal or ""), calls, answer.usage.total_tokens
    if client == "openai-responses":
        answer = openai_client(answering(body, status)).responses.create(model="m", input="Hi")
        calls = [(i.name, json.loads(i.arguments)) for i in answer.output if i.type == "function_call"]
        refusals = [p.refusal for i in answer.output if i.type == "message" for p in i.content if p.type == "refusal"]
        return (answer.output_text or "".join(refusals)), calls, answer.usage.total_tokens
    if client == "anthropic-messages":
        answer = anthropic_client(answering(body, status)).messages.create(model="m", max_tokens=9, messages=MESSAGES)
        calls = [(b.name, b.input) for b in answer.content if b.type == "tool_use"]
        used = answer.usage
        total = (used.input_tokens + (used.cache_read_input_tokens or 0) + (used.cache_creation_input_tokens or 0)
                 + used.output_tokens)
        return "".join(b.text for b in answer.content if b.type == "text"), calls, total
    google = gemini_client(body, status)
    answer = google.models.generate_content(model="m", contents="Hi")
    parts = answer.candidates[0].content.parts or [] if answer.candidates and answer.candidates[0].content else []
    calls = [(p.function_call.name, p.function_call.args) for p in parts if p.function_call]
    text = "".join(p.text for p in parts if p.text and not p.thought)
    return text, calls, answer.usage_metadata.total_token_count


TEXTS = {"text": {"Hi", 'Hi "you"\n'}, "tools": {"I look.", ""}, "reasoning": {"42"}, "thinking": {"42"}, "refusal": {"I cannot.", ""},
         "filtered": {""}, "blocked": {""}, "guardrail": {"Blocked."}}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_answers_are_read_by_the_clients_library(provider, client):
    for case, made in cases("answers", f"{provider}-to-{client}"):
        if case in FAILED:
            continue
        assert made["status"] == 200
        text, calls, total = whole(client, json.dumps(made["body"]).encode())
        assert text in TEXTS.get(case, {"Hi"}), case
        expected = [("f", {"x": 1}), ("g", {})] if case == "tools" else []
        assert calls == expected or provider == client and case == "tools", case
        assert total in ((20, 29, 19, 10, 11) if provider != "gemini" else (20, 29)), case


def stream_of(client, body):
    """Text, calls and how it ended, as the library puts a stream together."""
    kind = "text/event-stream"
    if client == "openai-chat":
        try:
            with openai_client(answering(body, kind=kind)).chat.completions.stream(model="m", messages=MESSAGES) as stream:
                for _event in stream:
                    pass
                choice = stream.get_final_completion().choices[0]
        except openai.LengthFinishReasonError as error:
            # How the library says "length".
            choice = error.completion.choices[0]
        except openai.ContentFilterFinishReasonError:
            return "", [], "content_filter"
        calls = [(c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls or []]
        return (choice.message.content or choice.message.refusal or ""), calls, choice.finish_reason
    if client == "openai-responses":
        text, calls, end = "", [], None
        for event in openai_client(answering(body, kind=kind)).responses.create(model="m", input="Hi", stream=True):
            if event.type in ("response.output_text.delta", "response.refusal.delta"):
                text += event.delta
            if event.type == "response.output_item.done" and event.item.type == "function_call":
                calls.append((event.item.name, json.loads(event.item.arguments)))
            if event.type in ("response.completed", "response.incomplete"):
                end = event.response.status
                said = "".join(p.text if p.type == "output_text" else p.refusal
                               for i in event.response.output if i.type == "message" for p in i.content)
                assert said == text or not event.response.output, "the last event repeats the answer"
        return text, calls, end
    if client == "anthropic-messages":
        with anthropic_client(answering(body, kind=kind)).messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            message = stream.get_final_message()
        calls = [(b.name, b.input) for b in message.content if b.type == "tool_use"]
        return "".join(b.text for b in message.content if b.type == "text"), calls, message.stop_reason
    text, calls, end = "", [], None
    google = gemini_client(body, kind=kind)
    for chunk in google.models.generate_content_stream(model="m", contents="Hi"):
        for candidate in chunk.candidates or []:
            for part in candidate.content.parts or [] if candidate.content else []:
                text += (part.text or "") if not part.thought else ""
                if part.function_call:
                    calls.append((part.function_call.name, part.function_call.args))
            end = candidate.finish_reason or end
    return text, calls, end and end.value


STREAM_TEXTS = {"text": {"Héllo", 'Héllo "you"\n'}, "tools": {"I look.", ""}, "reasoning": {"42"}, "thinking": {"42"},
                "refusal": {"I cannot."}, "blocked": {""}}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_streams_are_put_together_by_the_clients_library(provider, client):
    for case, _told, body in streams(f"{provider}-to-{client}"):
        if case in BROKEN or provider == client and case in ("no_end", "blocked"):
            continue
        text, calls, end = stream_of(client, body.encode())
        assert text in STREAM_TEXTS.get(case, {"Hi"}), case
        assert calls == ([("f", {"x": 1}), ("g", {})] if case == "tools" else []), case
        assert end, case


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_broken_stream_is_an_error_of_the_clients_library(provider, client):
    import anthropic
    from google.genai import errors

    kinds = (openai.APIError, anthropic.APIError, errors.APIError)
    seen = 0
    for case, told, body in streams(f"{provider}-to-{client}"):
        if case not in BROKEN or provider == client and case == "malformed":
            continue
        seen += 1
        if client == "openai-responses":
            assert "event: error\n" in body or "event: response.failed\n" in body, case
            continue
        with pytest.raises(kinds):
            stream_of(client, body.encode())
        assert "fault Some" in told or provider == client, case
    assert seen


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_errors_are_errors_of_the_clients_library(provider, client):
    import anthropic
    from google.genai import errors

    for status, made in cases("errors", f"{provider}-to-{client}"):
        expected = made["status"]
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError, errors.APIError)) as raised:
            whole(client, json.dumps(made["body"]).encode(), expected)
        error = raised.value
        assert getattr(error, "status_code", None) == expected or getattr(error, "code", None) == expected, status
        original = dict(inputs("errors", provider))[status]
        if isinstance(original, dict):
            reason = (original.get("error") or original).get("message") or original.get("Message")
            assert reason in str(error), status


def test_amazons_own_parser_reads_the_answers_that_are_translated():
    """The provider's answers and streams that the cases begin with are what Bedrock's model says."""
    import botocore.session
    from botocore.parsers import create_parser

    model = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")
    for case, body in inputs("answers", "bedrock-converse"):
        answer = {"status_code": 200, "headers": {}, "body": json.dumps(body).encode()}
        read = create_parser("rest-json").parse(answer, model.output_shape)
        assert read["output"]["message"]["content"], case
        assert read["stopReason"] == body["stopReason"]
    events = botocore.session.get_session().get_service_model("bedrock-runtime").shape_for("ConverseStreamOutput").members
    for case, lines in provider_streams("bedrock-converse"):
        for line in lines.splitlines():
            name, payload = line.split("\t")
            assert name in events, case
            assert set(json.loads(payload)) <= set(events[name].members), case
