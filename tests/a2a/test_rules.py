"""Rules on calls: who may do what, in the shape of each binding; and what is made to slip past them."""

import json

import pytest

from support.http1 import Raw
from support.proxy import to

ALLOW = {"rules": [{"allow": "a2a.method in ['GetTask', 'SendMessage'] && (!has(a2a.task) || a2a.task == 'mine')"}]}


def rpc(method, params, **members):
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params, **members})


@pytest.fixture
def rules(gateway, backend):
    agent = backend("agent")
    return agent, gateway(to({"a2a": {"host": agent.address}, "policies": {"a2aAuthorization": ALLOW}}))


def post(proxy, body, path="/", headers=()):
    body = body.encode()
    return proxy.get(path, "POST", {"content-type": "application/json", "content-length": str(len(body)), **dict(headers)}, body)


@pytest.mark.parametrize("method", ["tasks/get", "GetTask"])
def test_both_versions_have_one_name(rules, method):
    agent, proxy = rules
    assert post(proxy, rpc(method, {"id": "other"})).json()["error"]["code"] == -32000
    answer = post(proxy, rpc("tasks/cancel", {"id": "mine"})).json()
    assert answer["id"] == 7 and answer["error"]["data"][0]["reason"] == "A2A_DENIED"
    assert proxy.metric("agentgateway_a2a_requests_total", outcome="denied") == 2
    assert proxy.access_lines("a2a.method=CancelTask.*a2a.task=mine.*a2a.error=a2a_denied")


def test_paths_are_authorized_too(rules):
    agent, proxy = rules
    for method, path in [("GET", "/v1/tasks/other"), ("POST", "/tasks/mine:cancel"), ("POST", "/v1/message%3Astream"), ("GET", "/tasks")]:
        answer = post(proxy, "{}", path) if method == "POST" else proxy.get(path)
        assert answer.status == 403 and answer.json()["error"]["status"] == "PERMISSION_DENIED", path
    assert proxy.get("/v1/tasks/mine").status == 200
    assert proxy.get("/tasks/mine%2FpushNotificationConfigs").status == 400
    assert proxy.get("/anything").status == 403


@pytest.mark.parametrize(
    "body",
    [
        '{"jsonrpc":"2.0","id":1,"method":"tasks/get","method":"tasks/cancel","params":{"id":"mine"}}',
        '{"jsonrpc":"2.0","id":1,"method":"tasks/get","Method":"tasks/cancel","params":{"id":"mine"}}',
        '{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"id":"mine","\\u0069d":"other"}}',
        '[{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"id":"mine"}}]',
        '{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"id":"mine"}',
        '{"jsonrpc":"2.0","id":1,"method":7}',
        "<html>",
        "",
        "[" * 100_000,
    ],
)
def test_what_cannot_be_judged_is_refused(rules, body):
    agent, proxy = rules
    answer = post(proxy, body).json()
    assert answer["error"]["code"] in (-32700, -32600, -32602), answer
    assert proxy.metric("agentgateway_a2a_requests_total", outcome="refused") == 1


def test_large_messages(rules):
    agent, proxy = rules
    with Raw(proxy.port) as raw:
        # Nothing of it need be sent: its length is enough.
        raw.send(f"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {50 << 20}\r\n\r\n{{")
        status, _, rest = raw.read_head()
        assert status == 200
    assert proxy.access_lines("a2a.error=a2a_message_too_large")
    assert proxy.resident_bytes() < 200 << 20
    fits = rpc("message/send", {"message": {"parts": [{"kind": "text", "text": "x" * (5 << 20)}]}})
    assert post(proxy, fits).status == 200
    assert proxy.metric("agentgateway_a2a_requests_total", method="SendMessage") == 1


def test_rules_that_can_never_match_are_errors(start, ports):
    from support.proxy import routes

    text = routes(ports.free(), to({"a2a": {"host": "127.0.0.1:1"}, "policies": {"a2aAuthorization": {"rules": [{"deny": "a2a.method == 'tasks/cancel'"}]}}}))
    proxy = start(text, ready=False)
    proxy.wait_for('its name is "CancelTask"')
