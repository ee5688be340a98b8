"""The built-in picker: where requests go, and why."""

import collections
import json

import pytest

from support.http1 import Client
from support.model_server import chat, fresh
from support.wait import until

LONG = "The quick brown fox jumps over the lazy dog. " * 60


def profile(**weights):
    plugins = [{"type": name.replace("_", "-")} for name in weights]
    used = [{"pluginRef": name.replace("_", "-"), "weight": weight} for name, weight in weights.items()]
    return {"plugins": plugins, "schedulingProfiles": [{"name": "default", "plugins": used}]}


def test_a_conversation_stays_where_its_beginning_is_cached(servers, pool):
    models = servers(4, block_size=16)
    proxy = pool(models)
    fresh(proxy, 4)
    prompts = {f"{n} {LONG}" for n in range(8)}
    homes = {prompt: chat(proxy.port, prompt).served_by for prompt in prompts}
    assert len(set(homes.values())) > 1, "different prompts are spread"
    for prompt, home in homes.items():
        answer = chat(proxy.port, prompt + " And another question?")
        assert answer.served_by == home
        assert "prefix-cache-scorer" in answer.header("x-choice")
        assert answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 400
    assert proxy.metric("agentgateway_inference_prompt_blocks_cached_total") > 0
    assert proxy.metric("agentgateway_inference_choices_total", reason="prefix-cache-scorer") == 8
    lines = proxy.access_lines("inference.reason=prefix-cache-scorer", 8)
    assert all("gen_ai.request.model=base" in line and "inference.cached_blocks=" in line for line in lines)


def test_a_queue_is_avoided_and_told_of(servers, pool):
    models = servers(3)
    for at in (0, 2):
        models.fake(at, waiting="40")
    proxy = pool(models, picker=profile(queue_scorer=1))
    fresh(proxy, 3)
    for n in range(10):
        answer = chat(proxy.port, f"{n}")
        assert answer.served_by == models.ports[1]
        assert "queue-scorer=1.00*1" in answer.header("x-choice")


def test_a_full_cache_is_avoided(servers, pool):
    models = servers(3)
    models.fake(0, usage="0.99")
    models.fake(1, usage="0.98")
    proxy = pool(models, picker=profile(kv_cache_utilization_scorer=1))
    fresh(proxy, 3)
    assert {chat(proxy.port, f"{n}").served_by for n in range(10)} == {models.ports[2]}


def test_an_adapter_stays_where_it_is_loaded(servers, pool):
    models = servers(3, max_loras=1, lora_modules="a,b,c", inter_token_latency=100, max_num_seqs=8)
    proxy = pool(models, picker=profile(lora_affinity_scorer=1))
    fresh(proxy, 3)
    with Client(models.ports[1]) as client:
        # A long request holds the adapter on this server, beside the proxy.
        body = json.dumps({"model": "a", "prompt": "x", "max_tokens": 1000, "stream": True})
        client.start("/v1/completions", "POST", {}, body.encode())

        def there():
            return chat(proxy.port, "x", model="a", max_tokens=1).served_by == models.ports[1]

        # The first ones may go anywhere, and then the adapter is there too for as long as they last.
        until(lambda: all(there() for _ in range(8)), 10, "the proxy knows where the adapter is")


def test_a_session_stays(servers, pool):
    models = servers(3)
    proxy = pool(models, picker=profile(session_affinity_scorer=1))
    first = chat(proxy.port, "x")
    token = {"x-session-token": first.header("x-session-token")}
    assert {chat(proxy.port, "x", headers=token).served_by for _ in range(10)} == {first.served_by}
    assert len({chat(proxy.port, "x", headers={"x-session-token": "nonsense!"}).served_by for _ in range(20)}) > 1


@pytest.mark.parametrize("picker, least", [("random-picker", 3), ("weighted-random-picker", 2)])
def test_pickers_that_draw(servers, pool, picker, least):
    models = servers(3)
    models.fake(0, usage="1.0")
    plugins = [{"type": "kv-cache-utilization-scorer"}, {"type": picker}]
    proxy = pool(models, picker={"plugins": plugins})
    fresh(proxy, 3)
    counts = collections.Counter(chat(proxy.port, f"{n}").served_by for n in range(60))
    assert len(counts) == least, counts


def test_an_unknown_plugin_is_refused_by_its_name(start, servers, ports):
    text = f"""
binds:
- port: {ports.free()}
  listeners:
  - routes:
    - backends:
      - inference:
          hosts: [{{host: 127.0.0.1, port: 8000}}]
          picker:
            plugins:
            - type: queue-scorer
            - type: latency-scorer
"""
    proxy = start(text, ready=False)
    assert proxy.wait() != 0
    said = "\n".join(proxy.err)
    assert "latency-scorer" in said and "picker.plugins[1].type" in said, said


def test_a_model_is_rewritten(servers, pool):
    models = servers(2, lora_modules="canary")
    rules = [{"model": "chat", "targets": [{"modelRewrite": "base", "weight": 3}, {"modelRewrite": "canary"}]}]
    proxy = pool(models, modelRewrites=rules)
    used = collections.Counter(chat(proxy.port, "x", model="chat").json()["model"] for _ in range(40))
    assert set(used) == {"base", "canary"} and used["base"] > used["canary"], used
    assert chat(proxy.port, "x", model="other").status == 404, "the model server knows no other model"
    body = b'{"model":"other","messages":[],"mod\\u0065l":"chat"}'
    assert proxy.get("/v1/chat/completions", "POST", body=body).status == 400
    assert proxy.metric("agentgateway_inference_rewritten_total") == 40


def test_tokens_come_one_by_one(servers, pool):
    models = servers(2, inter_token_latency=150)
    proxy = pool(models)
    body = json.dumps({"model": "base", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "stream": True})
    with Client(proxy.port) as client:
        answer = client.start("/v1/chat/completions", "POST", {}, body.encode())
        first = answer.readline()
        assert first.startswith(b"data: ")
        assert sum(models.value(at, "vllm:num_requests_running") for at in (0, 1)) == 1, "it is not finished yet"
        rest = answer.read()
    assert rest.count(b"data: ") == 5 and b"[DONE]" in rest
