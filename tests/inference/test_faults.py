"""Model servers that lie, stop, vanish or flood; requests that are not what they should be."""

import collections
import concurrent.futures
import json
import time

import pytest

from support.http1 import Client, Raw
from support.model_server import chat, fresh
from support.wait import until


def spread(proxy, count=30):
    return collections.Counter(chat(proxy.port, f"{n} question").served_by for n in range(count))


@pytest.mark.parametrize(
    "fake",
    [
        {"waiting": "-5"},
        {"usage": "NaN"},
        {"usage": "1e300"},
        {"running": "+Inf"},
        {"waiting": "many"},
        {"metrics_status": 500},
        {"metrics_stall": True},
        {"metrics_bytes": 50_000_000},
    ],
    ids=lambda fake: next(iter(fake)) + "_" + str(next(iter(fake.values()))),
)
def test_a_server_whose_metrics_cannot_be_used_is_neither_left_out_nor_hammered(servers, pool, fake):
    models = servers(3, inter_token_latency=30)
    models.fake(1, **fake)
    proxy = pool(models)
    fresh(proxy, 2)
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        served = collections.Counter(threads.map(lambda n: chat(proxy.port, f"{n} question").served_by, range(120)))
    assert sum(served.values()) == 120 and 0 not in served
    assert 5 <= served[models.ports[1]] <= 60, served
    assert proxy.metric("agentgateway_inference_endpoints", metrics="fresh") == 2
    until(lambda: proxy.metric("agentgateway_inference_metrics_readings_total", outcome="error") > 0)


def test_a_server_that_always_says_that_it_is_idle_is_not_hammered(servers, pool):
    models = servers(3, inter_token_latency=30, max_num_seqs=4)
    models.fake(1, waiting="0", running="0", usage="0")
    proxy = pool(models)
    fresh(proxy, 3)
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        served = collections.Counter(threads.map(lambda n: chat(proxy.port, f"{n} question").served_by, range(120)))
    assert max(served.values()) < 90, served


def test_a_server_is_trusted_again_when_its_metrics_are(servers, pool):
    models = servers(2)
    models.fake(0, metrics_status=500)
    proxy = pool(models)
    fresh(proxy, 1)
    models.fake(0)
    until(lambda: chat(proxy.port, "x").status == 200 and proxy.metric("agentgateway_inference_endpoints", metrics="fresh") == 2)


def test_a_server_that_is_gone_costs_no_request(servers, pool, ports):
    models = servers(2)
    proxy = pool([*models.hosts, {"host": "127.0.0.1", "port": ports.free()}])
    fresh(proxy, 2)
    assert sum(spread(proxy, 40).values()) == 40
    # It gets its share of tries again once it was not avoided for a while, and each goes on elsewhere.
    time.sleep(1.1)
    assert 0 not in spread(proxy, 20)


def test_retries_go_to_the_next_server(servers, pool):
    models = servers(3)
    models.fake(0, status=503)
    proxy = pool(models, route={"policies": {"retry": {"attempts": 2, "codes": [503], "backoff": "10ms"}}})
    fresh(proxy, 3)
    answers = [chat(proxy.port, f"{n}") for n in range(30)]
    assert {answer.status for answer in answers} == {200}
    assert models.ports[0] not in {answer.served_by for answer in answers}


def test_an_ejected_server_gets_nothing(servers, pool):
    models = servers(2)
    models.fake(0, status=500)
    detection = {"consecutive5xx": 1, "interval": "100ms", "baseEjectionTime": "60s", "maxEjectionPercent": 50}
    proxy = pool(models, policies={"outlierDetection": detection})
    until(lambda: chat(proxy.port, "x").status == 500, what="the failing server is asked")
    until(lambda: proxy.metric("agentgateway_upstream_endpoints_ejected") == 1)
    assert set(spread(proxy, 20)) == {models.ports[1]}


def test_no_endpoint_is_503(pool):
    proxy = pool([{"host": "nobody.invalid", "port": 8000}])
    assert chat(proxy.port, "x").status == 503


@pytest.mark.parametrize("body", [b"", b"not json", b"[1,2]", b"{", b'{"messages":', b"\xff\xfe" * 100, b"[" * 100_000])
def test_what_is_no_prompt_is_the_model_servers_to_refuse(servers, pool, body):
    models = servers(2)
    proxy = pool(models)
    with Client(proxy.port) as client:
        answer = client.request("/v1/chat/completions", "POST", {"content-length": str(len(body))}, body)
        assert answer.status == 400 and answer.header("x-inference-port"), answer.text
        assert client.request("/v1/models").json()["data"][0]["id"] == "base"


def test_large_prompts_pass_beside_small_ones(servers, pool):
    models = servers(2, kv_cache_size=2_000_000, max_model_len=20_000_000)
    proxy = pool(models)
    fresh(proxy, 2)
    large = json.dumps({"messages": [{"role": "user", "content": "x" * 50_000_000}], "model": "base", "max_tokens": 1})

    def send_large():
        with Client(proxy.port, timeout=80) as client:
            return client.request("/v1/chat/completions", "POST", {"content-length": str(len(large))}, large.encode())

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        sent = thread.submit(send_large)
        times = []
        while not sent.done():
            start = time.monotonic()
            assert proxy.get("/v1/models").status == 200
            times.append(time.monotonic() - start)
        answer = sent.result()
    assert answer.status == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens"] > 12_000_000
    assert proxy.metric("agentgateway_worker_stalls_total") <= 3


def test_a_body_that_is_to_be_rewritten_is_bounded(servers, pool):
    models = servers(1)
    proxy = pool(models, modelRewrites=[{"targets": [{"modelRewrite": "base"}]}])
    with Raw(proxy.port) as raw:
        raw.send(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {17 << 20}\r\n\r\n")
        assert raw.read_response().status == 413


def test_a_request_that_is_given_up_counts_no_more(servers, pool):
    models = servers(1, inter_token_latency=100)
    proxy = pool(models)
    body = json.dumps({"model": "base", "prompt": "x", "max_tokens": 1000, "stream": True})
    with Client(proxy.port) as client:
        client.start("/v1/completions", "POST", {}, body.encode()).readline()
        assert models.value(0, "vllm:num_requests_running") == 1
    until(lambda: models.value(0, "vllm:num_requests_running") == 0, what="the model server is told")
