"""Real SDKs against providers of their own API: what they send arrives, what is answered they understand."""

import anthropic
import openai
import pydantic
import pytest
from anthropic.types import MessageParam
from openai.types.chat import ChatCompletionMessageParam

from support.llm_clients import anthropic_client, genai_client, one, openai_client
from support.llm_provider import DONE, chat_chunks, chat_completion, events, generated, message, message_events, whole

HELLO = [{"role": "user", "content": "Say hello."}]


def valid(kind, values):
    for value in values:
        pydantic.TypeAdapter(kind).validate_python(value, strict=True)


def test_chat_of_openai(gateway, provider):
    openai_ = provider(whole(chat_completion(), headers=[("x-request-id", "req_1"), ("set-cookie", "a=b")]))
    proxy = gateway(one({"openAI": {}}, openai_))
    raw = openai_client(proxy, organization="org-1").chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO, temperature=0.5)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello!" and answer.usage.total_tokens == 12
    assert raw.headers["x-request-id"] == "req_1" and "set-cookie" not in raw.headers
    asked = openai_.last
    assert (asked.method, asked.target) == ("POST", "/v1/chat/completions")
    assert asked.headers["authorization"] == "Bearer sk-of-the-gateway"
    assert asked.headers["openai-organization"] == "org-1"
    assert asked.headers["host"] == openai_.address
    assert not [name for name in asked.headers if name.startswith("x-forwarded")]
    assert asked.json["temperature"] == 0.5
    valid(ChatCompletionMessageParam, asked.json["messages"])


def test_stream_of_openai(gateway, provider):
    openai_ = provider(events(chat_chunks("Hel", "lo"), end=DONE))
    proxy = gateway(one({"openAI": {}}, openai_))
    client = openai_client(proxy)
    texts, usage = [], None
    for chunk in client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}):
        texts += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage or usage
    assert texts == ["Hel", "lo"] and usage.completion_tokens == 3
    # One who did not ask for the usage sees no event of it, though the gateway asks for it.
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert openai_.last.json["stream_options"] == {"include_usage": True}
    assert all(chunk.choices for chunk in chunks) and not any(chunk.usage for chunk in chunks)


def test_tools_and_structured_output_of_openai(gateway, provider):
    calls = [{"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": '{"city":"%s"}' % city}} for i, city in enumerate(["Rome", "Oslo"])]
    openai_ = provider(whole(chat_completion(None, tool_calls=calls)))
    client = openai_client(gateway(one({"openAI": {}}, openai_)))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=tools)
    assert [call.function.arguments for call in answer.choices[0].message.tool_calls] == ['{"city":"Rome"}', '{"city":"Oslo"}']
    assert openai_.last.json["tools"] == tools

    class Place(pydantic.BaseModel):
        city: str

    openai_.answer = lambda _: whole(chat_completion('{"city":"Rome"}'))
    parsed = client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Place)
    assert parsed.choices[0].message.parsed == Place(city="Rome")
    assert openai_.last.json["response_format"]["json_schema"]["name"] == "Place"


def test_embeddings_of_openai(gateway, provider):
    vectors = {"object": "list", "model": "text-embedding-3-small", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}], "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    openai_ = provider(whole(vectors))
    client = openai_client(gateway(one({"openAI": {}}, openai_)))
    answer = client.embeddings.create(model="text-embedding-3-small", input="hello", encoding_format="float")
    assert answer.data[0].embedding == [0.5, -1.0]
    assert openai_.last.target == "/v1/embeddings" and openai_.last.json["input"] == "hello"


@pytest.mark.parametrize("by_token", [False, True])
def test_messages_of_anthropic(gateway, provider, by_token):
    anthropic_ = provider(whole(message(), headers=[("request-id", "req_1")]))
    client = anthropic_client(gateway(one({"anthropic": {}}, anthropic_)), **({"api_key": None, "auth_token": "token"} if by_token else {}))
    answer = client.messages.create(model="claude-opus-4-1", max_tokens=10, messages=HELLO)
    assert answer.content[0].text == "Hello!" and answer._request_id == "req_1"
    asked = anthropic_.last
    assert asked.target == "/v1/messages" and asked.headers["anthropic-version"] == client.default_headers["anthropic-version"]
    assert asked.headers["x-api-key"] == "sk-of-the-gateway" and "authorization" not in asked.headers
    valid(MessageParam, asked.json["messages"])


def test_stream_of_anthropic(gateway, provider):
    anthropic_ = provider(events(message_events("Hel", "lo"), named=True))
    client = anthropic_client(gateway(one({"anthropic": {}}, anthropic_)))
    with client.messages.stream(model="claude-opus-4-1", max_tokens=10, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "Hello"
        assert stream.get_final_message().usage.output_tokens == 3


def test_token_count_of_anthropic(gateway, provider):
    anthropic_ = provider(whole({"input_tokens": 9}))
    client = anthropic_client(gateway(one({"anthropic": {}}, anthropic_)))
    assert client.messages.count_tokens(model="claude-opus-4-1", messages=HELLO).input_tokens == 9
    assert anthropic_.last.target == "/v1/messages/count_tokens"


def test_gemini(gateway, provider):
    gemini = provider(whole(generated()))
    client = genai_client(gateway(one({"gemini": {}}, gemini)))
    answer = client.models.generate_content(model="gemini-2.5-flash", contents="Say hello.")
    assert answer.text == "Hello!" and answer.usage_metadata.total_token_count == 12
    asked = gemini.last
    assert asked.target == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert asked.headers["x-goog-api-key"] == "sk-of-the-gateway"
    gemini.answer = lambda _: events([generated("Hel", None), generated("lo")])
    texts = [chunk.text for chunk in client.models.generate_content_stream(model="gemini-2.5-flash", contents="Say hello.")]
    assert texts == ["Hel", "lo"]
    assert gemini.last.target == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"


def test_the_clients_own_key_is_passed_on(gateway, provider):
    openai_, anthropic_ = provider(whole(chat_completion())), provider(whole(message()))
    passed = {"backendAuth": {"passthrough": {}}}

    def at(prefix, kind, stand_in):
        return {"matches": [{"path": {"pathPrefix": prefix}}], **one(kind, stand_in, passed)}

    proxy = gateway(at("/openai", {"openAI": {}}, openai_), at("/anthropic", {"anthropic": {}}, anthropic_))
    openai_client(proxy, "/openai").chat.completions.create(model="gpt-4o", messages=HELLO)
    assert openai_.last.headers["authorization"] == "Bearer sk-of-the-client"
    anthropic_client(proxy, "/anthropic").messages.create(model="claude", max_tokens=1, messages=HELLO)
    assert anthropic_.last.headers["x-api-key"] == "sk-of-the-client"
    assert anthropic_.last.target == "/v1/messages"


def test_a_key_of_anthropics_client_is_checked_wherever_it_is(gateway, provider):
    anthropic_ = provider(whole(message()))
    keys = {"apiKey": {"keys": [{"key": "sk-known"}]}}
    locations = [{"header": {"name": "x-api-key"}}, {"header": {"name": "authorization", "prefix": "Bearer "}}]
    keys["apiKey"]["locations"] = locations
    proxy = gateway({**one({"anthropic": {}}, anthropic_), "policies": keys})
    for options in ({"api_key": "sk-known"}, {"api_key": None, "auth_token": "sk-known"}):
        anthropic_client(proxy, **options).messages.create(model="claude", max_tokens=1, messages=HELLO)
        assert anthropic_.last.headers["x-api-key"] == "sk-of-the-gateway"
    with pytest.raises(anthropic.AuthenticationError):
        anthropic_client(proxy, api_key="sk-other").messages.create(model="claude", max_tokens=1, messages=HELLO)


def test_models_and_aliases(gateway, provider):
    openai_ = provider(whole(chat_completion()))
    aliases = {"fast": "gpt-4o-mini", "gpt-5*": "gpt-4o*"}
    client = openai_client(gateway(one({"openAI": {}}, openai_, modelAliases=aliases)))
    for named, meant in [("fast", "gpt-4o-mini"), ("gpt-5-pro", "gpt-4o-pro"), ("o3", "o3")]:
        client.chat.completions.create(model=named, messages=HELLO)
        assert openai_.last.json["model"] == meant
    assert [model.id for model in client.models.list()] == ["fast"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")
    fixed = openai_client(gateway(one({"openAI": {"model": "gpt-4o"}}, openai_)))
    fixed.chat.completions.create(model="anything", messages=HELLO)
    assert openai_.last.json["model"] == "gpt-4o"


def test_other_paths_pass_through(gateway, provider):
    files = {"object": "list", "data": [{"id": "file-1", "object": "file", "bytes": 1, "created_at": 1, "filename": "a", "purpose": "batch", "status": "processed"}], "has_more": False}
    openai_ = provider(whole(files))
    route = {"matches": [{"path": {"pathPrefix": "/openai"}}], **one({"openAI": {}}, openai_)}
    client = openai_client(gateway(route), "/openai")
    assert [file.id for file in client.files.list(purpose="batch")] == ["file-1"]
    assert (openai_.last.method, openai_.last.target.split("?")[0]) == ("GET", "/v1/files")
    assert openai_.last.headers["authorization"] == "Bearer sk-of-the-gateway"


@pytest.mark.parametrize("status,error", [
    (400, openai.BadRequestError), (401, openai.AuthenticationError), (403, openai.PermissionDeniedError),
    (404, openai.NotFoundError), (429, openai.RateLimitError), (500, openai.InternalServerError),
])
def test_errors_of_the_provider(gateway, provider, status, error):
    body = {"error": {"message": "of the provider", "type": "t", "param": "p", "code": "c"}}
    openai_ = provider(whole(body, status, headers=[("retry-after", "7")]))
    client = openai_client(gateway(one({"openAI": {}}, openai_)))
    with pytest.raises(error) as caught:
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert caught.value.status_code == status and caught.value.body["message"] == "of the provider"
    assert caught.value.response.headers["retry-after"] == "7"


def test_the_log_tells_usage_and_no_key(gateway, provider):
    openai_ = provider(events(chat_chunks("Hel", "lo"), end=DONE))
    proxy = gateway(one({"openAI": {}}, openai_))
    list(openai_client(proxy).chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    line = proxy.access_lines("gen_ai.usage.input_tokens")[0]
    for part in ("gen_ai.request.model", "gen_ai.usage.output_tokens", "gen_ai.provider.name"):
        assert part in line, line
    everything = "\n".join([*proxy.out, *proxy.err, proxy.metrics(), str(proxy.dump())])
    assert "sk-of-the" not in everything
