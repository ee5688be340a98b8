"""What the translation sends to providers is what their own libraries would send: checked by the request models of openai,
anthropic and google-genai, and by botocore's model of Bedrock."""

import base64

import pytest
from llm.conforms import problems
from llm.golden import CLIENTS, cases, inputs

NAMES = ["openai-chat", "openai-compatible", "openai-responses", "anthropic-messages", "anthropic-vertex", "anthropic-bedrock",
         "gemini", "gemini-vertex", "bedrock-converse", "bedrock-nova"]


def chat(body):
    from openai.types.chat.completion_create_params import CompletionCreateParams

    # Members that are not OpenAI's own: a compatible provider's client sends what it likes.
    return problems(body, CompletionCreateParams)


def responses(body):
    from openai.types.responses.response_create_params import ResponseCreateParams

    return problems(body, ResponseCreateParams)


def anthropic(body):
    from anthropic.types.message_create_params import MessageCreateParams

    # The library has dropped what the newest models refuse and the API takes for older ones.
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            assert isinstance(body.pop(name), (int, float))
    return problems(body, MessageCreateParams)


def anthropic_elsewhere(body):
    version = body.pop("anthropic_version")
    assert version in ("vertex-2023-10-16", "bedrock-2023-05-31")
    assert "model" not in body
    assert (version, body.get("stream")) != ("bedrock-2023-05-31", True), "Bedrock's path says that it is a stream"
    return anthropic({**body, "model": "m"})


def gemini(body):
    from google.genai import types
    from pydantic import TypeAdapter, ValidationError

    # The types forbid members that they do not know.
    kinds = {"contents": list[types.Content], "systemInstruction": types.Content, "tools": list[types.Tool],
             "toolConfig": types.ToolConfig, "generationConfig": types.GenerationConfig, "serviceTier": types.ServiceTier}
    found = [f"$: has no {name}" for name in body if name not in kinds]
    for name, value in body.items():
        try:
            TypeAdapter(kinds.get(name, object)).validate_python(value)
        except ValidationError as error:
            found.append(f"{name}: {error}")
    return found


def _from_wire(value, shape):
    """A value as it is in JSON, as botocore's callers write it: blobs are bytes."""
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False) and isinstance(value, dict):
        return {k: _from_wire(v, shape.members[k]) if k in shape.members else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_from_wire(item, shape.member) for item in value]
    return value


def bedrock_shape(name):
    import botocore.session

    return botocore.session.get_session().get_service_model("bedrock-runtime").shape_for(name)


def bedrock(body):
    from botocore.validate import ParamValidator

    shape = bedrock_shape("ConverseRequest")
    report = ParamValidator().validate({**_from_wire(body, shape), "modelId": "m"}, shape)
    return [report.generate_report()] if report.has_errors() else []


CHECKS = {"openai-chat": chat, "openai-compatible": chat, "openai-responses": responses, "anthropic-messages": anthropic,
          "anthropic-vertex": anthropic_elsewhere, "anthropic-bedrock": anthropic_elsewhere, "gemini": gemini,
          "gemini-vertex": gemini, "bedrock-converse": bedrock, "bedrock-nova": bedrock}

# Where client and provider speak one API, what the client sends goes on: these cases are not OpenAI's own.
FOREIGN = {"sampling": ["x_unknown"], "cache": ["cache_control"], "reasoning_back": ["reasoning_content", "reasoning_details", "extra_content"]}


def _without(value, names):
    if isinstance(value, dict):
        return {k: _without(v, names) for k, v in value.items() if k not in names}
    return [_without(item, names) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", NAMES)
def test_what_is_sent_is_what_the_provider_takes(client, provider):
    sent = 0
    for case, made in cases("requests", f"{client}-to-{provider}"):
        if "refused" in made:
            assert made["refused"], case
            continue
        body = made["body"]
        if client == "openai-chat" and provider in ("openai-chat", "openai-compatible"):
            body = _without(body, FOREIGN.get(case, []))
        if client == "anthropic-messages" and provider.startswith("anthropic"):
            body = _without(body, ["mcp_servers"])
        if client == provider.removesuffix("-vertex") == "gemini":
            body = _without(body, ["safetySettings", "generation_config"])
        found = CHECKS[provider](body)
        assert not found, f"{case}: {found}"
        sent += 1
    assert sent >= 3, "hardly anything is translated"


@pytest.mark.parametrize("client, check", [("openai-chat", chat), ("openai-responses", responses),
                                           ("anthropic-messages", anthropic)])
def test_the_cases_are_what_clients_send(client, check):
    for case, body in inputs("requests", client):
        found = check(_without(body, FOREIGN.get(case, []) + ["mcp_servers"]))
        assert not found, f"{case}: {found}"


def test_the_check_finds_what_is_wrong():
    assert chat({"model": "m", "messages": [{"role": "user", "content": 5}]})
    assert chat({"model": "m", "messages": [], "nonsense": 1})
    assert responses({"model": "m", "input": [{"type": "message", "role": "user", "content": [{"type": "text"}]}]})
    assert anthropic({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text"}]}]})
    assert gemini({"contents": [{"parts": [{"txt": "a"}]}]})
    assert bedrock({"messages": [{"role": "user", "content": [{"text": 5}]}]})
    assert bedrock({"messages": [], "nonsense": 1})
