"""Several providers: priorities, weights, and what clients see of one that is sick."""

import collections
import concurrent.futures
import threading

import anthropic
import openai
import pytest

from support.llm_clients import anthropic_client, groups, openai_client
from support.llm_provider import DONE, Reply, chat_chunks, chat_completion, events, whole
from support.wait import until

HELLO = [{"role": "user", "content": "Say hello."}]
ERROR = {"error": {"message": "no", "type": "t", "param": None, "code": None}}


def ask(client, **options):
    return client.chat.completions.create(model="gpt-4o", messages=HELLO, **options)


def answers(text):
    return whole(chat_completion(text))


@pytest.mark.parametrize("sick", [
    whole(ERROR, 500), whole(ERROR, 503), whole(ERROR, 529), whole(ERROR, 429),
    Reply(b"<html>gateway</html>", 200, "text/html"), Reply(b'{"id": "cut', cut=True), "closed",
], ids=["500", "503", "529", "429", "html", "cut", "closed"])
def test_the_next_group_answers(gateway, provider, sick):
    first, second = provider(sick), provider(answers("second"))
    if sick == "closed":
        first.close()
    client = openai_client(gateway(groups([("a", {"openAI": {}}, first)], [("b", {"openAI": {}}, second)])))
    for _ in range(5):
        assert ask(client).choices[0].message.content == "second"
    # After three failures it rests.
    assert len(first.seen) <= 3 and len(second.seen) == 5


@pytest.mark.parametrize("sick", [
    whole(ERROR, 500), Reply([], content_type="text/event-stream"), Reply([], content_type="text/event-stream", cut=True), answers("no stream"),
], ids=["500", "empty", "cut", "whole"])
def test_a_stream_that_has_not_begun_is_taken_over(gateway, provider, sick):
    first, second = provider(sick), provider(events(chat_chunks("sec", "ond"), end=DONE))
    client = openai_client(gateway(groups([("a", {"openAI": {}}, first)], [("b", {"openAI": {}}, second)])))
    texts = [choice.delta.content for chunk in ask(client, stream=True) for choice in chunk.choices]
    assert "".join(text or "" for text in texts) == "second"


def test_a_stream_that_has_begun_ends_with_an_error(gateway, provider):
    first = provider(events(chat_chunks("half")[:2], cut=True))
    second = provider(answers("second"))
    client = openai_client(gateway(groups([("a", {"openAI": {}}, first)], [("b", {"openAI": {}}, second)])))
    texts = []
    with pytest.raises(openai.APIError):
        for chunk in ask(client, stream=True):
            texts += [choice.delta.content for choice in chunk.choices]
    assert "half" in texts and not second.seen


def test_what_is_wrong_with_the_request_is_not_tried_again(gateway, provider):
    first, second = provider(whole(ERROR, 400)), provider(answers("second"))
    client = openai_client(gateway(groups([("a", {"openAI": {}}, first)], [("b", {"openAI": {}}, second)])))
    with pytest.raises(openai.BadRequestError):
        ask(client)
    assert not second.seen


def test_retry_after_is_honoured(gateway, provider):
    limited, second = provider(whole(ERROR, 429, headers=[("retry-after", "60")])), provider(answers("second"))
    client = openai_client(gateway(groups([("a", {"openAI": {}}, limited)], [("b", {"openAI": {}}, second)])))
    for _ in range(4):
        ask(client)
    assert len(limited.seen) == 1


def test_a_provider_that_is_well_again_gets_requests(gateway, provider):
    first, second = provider(whole(ERROR, 429, headers=[("retry-after", "1")])), provider(answers("second"))
    client = openai_client(gateway(groups([("a", {"openAI": {}}, first)], [("b", {"openAI": {}}, second)])))
    assert ask(client).choices[0].message.content == "second"
    first.answer = lambda _: answers("first")
    until(lambda: ask(client).choices[0].message.content == "first", 10, "recovery")


def test_when_all_fail_the_last_error_is_told(gateway, provider):
    both = [provider(whole(ERROR, 503)), provider(whole(ERROR, 503))]
    proxy = gateway(groups([("a", {"openAI": {}}, both[0])], [("b", {"openAI": {}}, both[1])]))
    for _ in range(5):
        with pytest.raises(openai.InternalServerError) as caught:
            ask(openai_client(proxy))
        assert caught.value.status_code == 503
    # Those that rest are asked when there is no other.
    assert all(len(each.seen) == 5 for each in both)


def test_weights(gateway, provider):
    a, b = provider(answers("a")), provider(answers("b"))
    client = openai_client(gateway(groups([("a", {"openAI": {}}, a, {"weight": 3}), ("b", {"openAI": {}}, b, {"weight": 1})])))
    counts = collections.Counter(ask(client).choices[0].message.content for _ in range(200))
    assert 120 <= counts["a"] <= 178, counts


def test_another_api_takes_over(gateway, provider):
    """A client of Anthropic's is answered by a provider that speaks OpenAI's."""
    first, second = provider(whole({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, 529)), provider(answers("second"))
    aliases = {"modelAliases": {"claude-*": "gpt-4o"}}
    proxy = gateway(groups([("a", {"anthropic": {}}, first)], [("b", {"openAI": {}}, second, aliases)]))
    answer = anthropic_client(proxy).messages.create(model="claude-opus-4-1", max_tokens=10, messages=HELLO)
    assert answer.content[0].text == "second" and answer.stop_reason == "end_turn"
    assert second.last.json["model"] == "gpt-4o" and second.last.headers["authorization"] == "Bearer sk-of-the-gateway"
    assert "anthropic-version" not in second.last.headers
    first.close(), second.close()
    with pytest.raises(anthropic.InternalServerError):
        anthropic_client(proxy).messages.create(model="claude-opus-4-1", max_tokens=10, messages=HELLO)


def test_a_provider_dies_under_load(gateway, provider):
    first, second = provider(answers("first")), provider(answers("second"))
    proxy = gateway(groups([("a", {"openAI": {}}, first)], [("b", {"openAI": {}}, second)]))
    client = openai_client(proxy)
    done = threading.Event()

    def run(_):
        told = collections.Counter()
        while not done.is_set():
            told[ask(client).choices[0].message.content] += 1
        return told

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(run, i) for i in range(8)]
        try:
            until(lambda: len(first.seen) > 100, 30, "load")
            first.answer = lambda _: whole(ERROR, 500)
            until(lambda: len(second.seen) > 100, 30, "the other one's answers")
        finally:
            done.set()
        # No client saw an error: `ask` would have raised it.
        told = sum((each.result() for each in running), collections.Counter())
    assert told["first"] > 50 and told["second"] > 50, told
