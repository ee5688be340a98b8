"""Sessions: whose they are, how they end, and what an unknown one is answered."""

import signal

import pytest

from support.http1 import Client
from support.mcp_client import ACCEPT, Wire, connect, messages, tool_names
from support.tokens import ISSUER, Key, bearer
from support.wait import until

from .conftest import stdio


@pytest.fixture
def proxy(federation, github):
    return federation(github.target("github"), stdio("local"))


def status(client, session):
    return client.post({"jsonrpc": "2.0", "id": 9, "method": "tools/list"}, session=session).status


def test_requests_need_a_session(proxy, wire):
    client = wire(proxy)
    assert status(client, None) == 400


def test_an_unknown_session_is_404(proxy, wire):
    """Clients then begin again (MCP "Session Management")."""
    client = wire(proxy)
    client.initialize()
    for unknown in ("unknown", "0" * 64, client.session + "A", client.session[:-4], ""):
        if unknown:
            assert status(client, unknown) == 404, unknown
    assert client.delete("unknown").status == 404
    with Client(proxy.port) as http:
        assert http.request("/mcp", headers=[("accept", "text/event-stream"), ("mcp-session-id", "unknown")]).status == 404
    assert status(client, client.session) == 200


def test_a_tampered_session_is_404(proxy, wire):
    """The id is sealed: no change of it opens another session."""
    client = wire(proxy)
    client.initialize()
    own = client.session
    for place in range(0, len(own), max(1, len(own) // 12)):
        changed = own[:place] + ("A" if own[place] != "A" else "B") + own[place + 1 :]
        assert status(client, changed) == 404, place


def test_session_ids_are_visible_ascii_and_differ(proxy, wire):
    ids = set()
    for _ in range(5):
        client = wire(proxy)
        client.initialize()
        assert all(0x21 <= ord(c) <= 0x7E for c in client.session)
        ids.add(client.session)
    assert len(ids) == 5


def test_delete_ends_a_session_here_and_at_the_servers(proxy, wire, mcp_server):
    client = wire(proxy)
    client.initialize()
    child = client.call("local_process")["result"]["structuredContent"]["result"]
    assert child in proxy.children()
    assert client.delete().status == 204
    assert status(client, client.session) == 404
    assert client.delete().status == 404
    until(lambda: child not in proxy.children(), what="the session's process to end")


def test_sessions_have_processes_of_their_own(proxy, wire):
    first, second = wire(proxy), wire(proxy)
    pids = []
    for client in (first, second):
        client.initialize()
        pids.append(client.call("local_process")["result"]["structuredContent"]["result"])
    assert len(set(pids)) == 2 and set(pids) <= set(proxy.children())


def test_initialize_within_a_session_is_refused(proxy, wire):
    client = wire(proxy)
    client.initialize()
    assert client.post({"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": {}}).status == 400


def test_get_opens_a_stream_that_stays(proxy, wire):
    client = wire(proxy)
    client.initialize()
    with Client(proxy.port) as http:
        answer = http.start("/mcp", headers=[("accept", "text/event-stream"), ("mcp-session-id", client.session)])
        assert answer.status == 200 and answer.getheader("content-type").startswith("text/event-stream")
        assert client.request("ping")["result"] == {}
    with Client(proxy.port) as http:
        assert http.request("/mcp", headers=[("accept", "application/json"), ("mcp-session-id", client.session)]).status == 406
        assert http.request("/mcp", headers=[("accept", "text/event-stream")]).status == 400


def test_an_unsupported_protocol_version_is_refused(proxy, wire):
    client = wire(proxy)
    client.initialize()
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert client.post(ping, headers=[("mcp-protocol-version", "1999-01-01")]).status == 400
    assert client.post(ping, headers=[("mcp-protocol-version", "2025-06-18")]).status == 200


def test_a_session_is_its_callers_alone(federation, github, wire):
    key = Key("ES256")
    proxy = federation(github.target("github"), policies={"jwtAuth": {"issuer": ISSUER, "jwks": {"inline": key.pem}}})
    mine, theirs = wire(proxy, headers=bearer(key.token(sub="me"))), wire(proxy, headers=bearer(key.token(sub="them")))
    mine.initialize()
    assert status(mine, mine.session) == 200
    assert status(theirs, mine.session) == 404
    assert theirs.delete(mine.session).status == 404
    assert status(wire(proxy), mine.session) == 401
    renewed = wire(proxy, headers=bearer(key.token(sub="me", exp=4102444800)))
    assert status(renewed, mine.session) == 200, "a renewed token is the same caller"


def test_a_session_is_that_of_its_key(federation, github, wire):
    keys = [{"name": name, "key": f"sk-{name}-0123456789"} for name in ("mine", "theirs")]
    proxy = federation(github.target("github"), policies={"apiKey": {"keys": keys}})
    mine, theirs = (wire(proxy, headers=[("x-api-key", key["key"])]) for key in keys)
    mine.initialize()
    assert status(mine, mine.session) == 200
    assert status(theirs, mine.session) == 404


@pytest.mark.anyio
async def test_a_client_that_speaks_both_needs_no_session(federation, github):
    """It asks for the stateless protocol first."""
    proxy = federation(github.target("github"))
    async with connect(proxy.url, mode="auto") as client:
        assert client.protocol_version == "2026-07-28"
        assert "search_code" in await tool_names(client)


def test_preflight_and_origin_of_browsers(federation, github):
    cors = {"allowOrigins": ["https://app.example"], "allowMethods": ["POST"], "allowHeaders": ["mcp-session-id"], "exposeHeaders": ["mcp-session-id"]}
    proxy = federation(github.target("github"), policies={"cors": cors})
    origin = ("origin", "https://app.example")
    with Client(proxy.port) as http:
        preflight = http.request("/mcp", "OPTIONS", [origin, ("access-control-request-method", "POST")])
        assert preflight.status in (200, 204) and preflight.header("access-control-allow-origin") == "https://app.example"
        answer = http.request("/mcp", "POST", [origin, *ACCEPT], b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        assert answer.header("access-control-expose-headers") == "mcp-session-id"


def test_replicas_with_one_key_go_on_with_each_others_sessions(federation, mcp_server, tmp_path):
    """The session at the server goes on too: it is not greeted a second time."""
    server = mcp_server("github").wait_ready()
    key, other, short = (tmp_path / name for name in ("session.key", "other.key", "short.key"))
    key.write_text("0123456789abcdef" * 4 + "\n")
    other.write_text("fedcba9876543210" * 4)
    short.write_text("guessed")
    replicas = [federation(server.target("github"), env={"SESSION_KEY_FILE": str(k)}) for k in (key, key, other)]
    client = Wire(replicas[0].port)
    client.initialize()
    first = client.call("search_code", query="x")
    replicas[0].signal(signal.SIGKILL)
    replicas[0].wait()
    for replica, status in ((replicas[1], 200), (replicas[2], 404)):
        again = Wire(replica.port)
        again.session = client.session
        response = again.post({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "search_code", "arguments": {"query": "x"}}})
        assert response.status == status
        if status == 200:
            assert messages(response)[-1]["result"] == first["result"]
    assert replicas[1].metric("agentgateway_mcp_sessions_resumed_total") == 1
    assert replicas[1].metric("agentgateway_mcp_handshakes_total", outcome="ok") == 0
    refused = federation(server.target("github"), env={"SESSION_KEY_FILE": str(short)}, ready=False)
    assert refused.wait(10) != 0
    assert any("at least 32" in line for line in refused.err), refused.err
