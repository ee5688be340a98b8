"""Clients of both SDKs with agents of both, direct and through the proxy: they see the same, and all of it passes the proxy."""

import json

import pytest

from support.a2a_client import client
from support.proxy import to


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
@pytest.mark.parametrize("prefix", ["", "/agents/one"])
def test_a_client_sees_the_same_through_the_proxy(gateway, lasting, backend, binding, prefix):
    webhook = backend()
    rewrite = {"matches": [{"path": {"pathPrefix": prefix}}], "policies": {"urlRewrite": {"path": {"prefix": ""}}}} if prefix else {}
    proxy = gateway(to({"a2a": {"host": lasting.address}}, **rewrite))
    arguments = ["--webhook", f"http://{webhook.address}/hook"]
    direct = client(lasting.version, lasting.url, binding, *arguments)
    before, base = len(lasting.requests()), f"http://127.0.0.1:{proxy.port}{prefix}"
    through = client(lasting.version, base, binding, *arguments)

    # The cards' URLs are the proxy's, and what was signed otherwise is not signed any more.
    for card in ("card", "extended"):
        name, urls, signatures = direct.pop(card)
        assert urls and all(url.startswith(lasting.url) for url in urls) and signatures == 1
        assert through.pop(card) == [name, [url.replace(lasting.url, base) for url in urls], 0]
    assert through == direct

    # No request went round the proxy.
    seen = len(proxy.access_lines("a2a.method=", len(lasting.requests()) - before))
    assert seen == len(lasting.requests()) - before
    assert proxy.metric("agentgateway_a2a_requests_total", method="SendStreamingMessage", outcome="ok") >= 2
    assert proxy.metric("agentgateway_a2a_requests_total", method="CancelTask", outcome="ok") == 1
    assert proxy.metric("agentgateway_a2a_requests_total", method="GetTask", outcome="error") == 1
    assert proxy.metric("agentgateway_a2a_task_states_total", state="completed") >= 2
    assert proxy.metric("agentgateway_a2a_task_states_total", state="canceled") >= 1
    assert proxy.access_lines("a2a.method=SendStreamingMessage .*a2a.state=completed")


@pytest.mark.parametrize("method", ["message/stream"])
def test_events_arrive_one_by_one(gateway, agent, method):
    import http.client
    import time

    old = agent("v03")
    proxy = gateway(to({"a2a": {"host": old.address}}))
    message = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "steps 4"}]}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}})
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    connection.request("POST", "/", body, {"content-type": "application/json"})
    answer, times = connection.getresponse(), []
    while line := answer.readline():
        if line.startswith(b"data:"):
            times.append(time.monotonic())
    connection.close()
    assert len(times) == 7 and times[-1] - times[0] > 0.5, "not all at once, at the end"
