"""Limits of tokens: estimated before, corrected by what the provider counted."""

import openai
import pytest

from support.llm_clients import one, openai_client
from support.llm_provider import DONE, chat_chunks, chat_completion, events, whole
from support.wait import until

HELLO = [{"role": "user", "content": "Say hello."}]


def limited(provider, most, **bucket):
    limit = {"maxTokens": most, "fillInterval": "1h", "unit": "Tokens", **bucket}
    return {**one({"openAI": {}}, provider), "policies": {"localRateLimit": [limit]}}


def used(total):
    return {**chat_completion(), "usage": {"prompt_tokens": total - 3, "completion_tokens": 3, "total_tokens": total}}


def ask(client, **options):
    return client.chat.completions.create(model="gpt-4o", messages=HELLO, **options)


def test_what_the_provider_counted_is_taken(gateway, provider):
    stand_in = provider(whole(used(50)))
    client = openai_client(gateway(limited(stand_in, 100)))
    ask(client), ask(client)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.code == "rate_limit_exceeded" and caught.value.response.headers["retry-after"]
    assert len(stand_in.seen) == 2


def test_what_the_provider_counted_in_a_stream_is_taken(gateway, provider):
    chunks = chat_chunks("Hel", "lo")
    chunks[-1]["usage"] = {"prompt_tokens": 97, "completion_tokens": 3, "total_tokens": 100}
    stand_in = provider(events(chunks, end=DONE))
    client = openai_client(gateway(limited(stand_in, 100)))
    list(ask(client, stream=True))

    def refused():
        try:
            list(ask(client, stream=True))
        except openai.RateLimitError:
            return True

    until(refused, 10, "the stream's end is counted")
    assert len(stand_in.seen) <= 2


def test_a_prompt_beyond_the_limit_is_not_sent(gateway, provider):
    stand_in = provider(whole(used(50)))
    client = openai_client(gateway(limited(stand_in, 100)))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "word " * 200}])
    assert not stand_in.seen


def test_what_failed_costs_nothing(gateway, provider):
    error = {"error": {"message": "no", "type": "t", "param": None, "code": None}}
    stand_in = provider(whole(error, 500))
    client = openai_client(gateway(limited(stand_in, 100)))
    for _ in range(10):
        with pytest.raises(openai.InternalServerError):
            ask(client)
    stand_in.answer = lambda _: whole(used(50))
    ask(client)


def test_other_paths_are_no_way_around(gateway, provider):
    stand_in = provider(whole(used(100)))
    proxy = gateway(limited(stand_in, 100))
    ask(openai_client(proxy))
    response = proxy.get("/v1/audio/speech", "POST", body=b"x")
    assert response.status == 429 and len(stand_in.seen) == 1
