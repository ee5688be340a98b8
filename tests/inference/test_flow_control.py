"""A saturated pool: who waits, who goes first, who is refused."""

import concurrent.futures
import json
import time

import pytest

from support.http1 import Client
from support.model_server import chat, fresh
from support.wait import until

REASON = "x-llm-d-request-dropped-reason"
OBJECTIVES = [{"name": "batch", "priority": -1}, {"name": "chat", "priority": 10}]
DETECTOR = {"type": "utilization-detector", "parameters": {"queueDepthThreshold": 2, "kvCacheUtilThreshold": 0.9}}


def picker(**flow):
    config = {"plugins": [{"type": "queue-scorer"}, DETECTOR]}
    return {**config, "flowControl": flow} if flow else config


def objective(name):
    return {"x-llm-d-inference-objective": name}


def saturated(proxy):
    until(lambda: proxy.metric("agentgateway_inference_saturation") >= 1, what="the pool is saturated")


def test_what_may_be_shed_is_shed_first(servers, pool):
    models = servers(2)
    proxy = pool(models, picker=picker(), objectives=OBJECTIVES)
    fresh(proxy, 2)
    assert chat(proxy.port, "x", headers=objective("batch")).status == 200
    for at in (0, 1):
        models.fake(at, waiting="10")
    saturated(proxy)
    answer = chat(proxy.port, "x", headers=objective("batch"))
    assert (answer.status, answer.header(REASON)) == (429, "rejected-saturated")
    assert chat(proxy.port, "x", headers={"x-gateway-inference-objective": "batch"}).status == 429
    for other in ("chat", "no-such-objective"):
        assert chat(proxy.port, "x", headers=objective(other)).status == 200
    assert chat(proxy.port, "x").status == 200
    assert proxy.metric("agentgateway_inference_dropped_total", reason="rejected-saturated") == 2
    assert "inference.dropped=rejected-saturated" in proxy.access_lines("status=429", 2)[0]


def test_others_wait_and_the_highest_priority_goes_first(servers, pool):
    models = servers(1)
    proxy = pool(models, picker=picker(defaultRequestTTL="30s"), objectives=OBJECTIVES)
    fresh(proxy, 1)
    models.fake(0, waiting="10")
    saturated(proxy)
    ended = []

    def send(name):
        assert chat(proxy.port, "x", headers=objective(name) if name else ()).status == 200
        ended.append(name)

    with concurrent.futures.ThreadPoolExecutor(9) as threads:
        sent = []
        for n, name in enumerate(["batch", "", "chat"] * 3):
            sent.append(threads.submit(send, name))
            until(lambda: proxy.metric("agentgateway_inference_waiting") == n + 1, what="it waits")
        assert ended == []
        # There is room for one more at a time.
        models.fake(0, waiting="1")
        for one in sent:
            one.result(timeout=30)
    assert ended[:2] == ["chat"] * 2 and ended[-1] == "batch", ended
    assert proxy.metric("agentgateway_inference_waiting") == 0


def test_bounds_of_the_queue(servers, pool):
    models = servers(1)
    proxy = pool(models, picker=picker(maxRequests=2, defaultRequestTTL="2s"), objectives=OBJECTIVES)
    fresh(proxy, 1)
    models.fake(0, waiting="10")
    saturated(proxy)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        first = [threads.submit(chat, proxy.port, "x", headers=objective("batch")) for _ in range(2)]
        until(lambda: proxy.metric("agentgateway_inference_waiting") == 2)
        answer = chat(proxy.port, "x", headers=objective("batch"))
        assert (answer.status, answer.header(REASON)) == (429, "rejected-saturated"), "no room, and nobody is below it"
        higher = threads.submit(chat, proxy.port, "x", headers=objective("chat"))
        answers = [one.result() for one in first]
        assert {(a.status, a.header(REASON)) for a in answers} == {(429, "evicted"), (429, "rejected-ttl-expired")}
        assert higher.result().header(REASON) == "rejected-ttl-expired"
    assert proxy.metric("agentgateway_inference_waiting") == 0


def test_whoever_gives_up_leaves_the_line(servers, pool):
    models = servers(1)
    proxy = pool(models, picker=picker(defaultRequestTTL="30s"))
    fresh(proxy, 1)
    models.fake(0, waiting="10")
    saturated(proxy)
    with pytest.raises(OSError):
        chat(proxy.port, "x", timeout=0.5)
    until(lambda: proxy.metric("agentgateway_inference_waiting") == 0)


def test_nobody_waits_for_servers_of_which_nothing_is_known(servers, pool):
    models = servers(2)
    for at in (0, 1):
        models.fake(at, metrics_status=500)
    proxy = pool(models, picker=picker(defaultRequestTTL="30s"))
    start = time.monotonic()
    assert {chat(proxy.port, f"{n}").status for n in range(5)} == {200}
    assert time.monotonic() - start < 10


def test_no_endpoint_is_503_with_its_reason(pool):
    proxy = pool([{"host": "nobody.invalid", "port": 8000}])
    answer = chat(proxy.port, "x")
    assert (answer.status, answer.header(REASON)) == (503, "rejected-no-endpoints")


def test_tenants_take_turns(servers, pool):
    models = servers(1)
    band = {"priority": 0, "fairnessPolicyRef": "round-robin-fairness-policy"}
    proxy = pool(models, picker=picker(defaultRequestTTL="30s", priorityBands=[band]))
    fresh(proxy, 1)
    models.fake(0, waiting="10")
    saturated(proxy)
    ended = []

    def send(tenant):
        body = json.dumps({"model": "base", "prompt": "x", "max_tokens": 1}).encode()
        with Client(proxy.port, timeout=30) as client:
            assert client.request("/v1/completions", "POST", {"x-llm-d-inference-fairness-id": tenant}, body).status == 200
        ended.append(tenant)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        sent = []
        for n, tenant in enumerate("aaaaaab"):
            sent.append(threads.submit(send, tenant))
            until(lambda: proxy.metric("agentgateway_inference_waiting") == n + 1, what="it waits")
        models.fake(0, waiting="1")
        for one in sent:
            one.result(timeout=30)
    assert ended.index("b") <= 3, ended
