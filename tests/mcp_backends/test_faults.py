"""Targets that fail: only their own calls do, and they come back."""

import os
import signal
import threading
import time

import anyio
import pytest

from support.mcp_client import connect, text, tool_names
from support.wait import until

from .conftest import stdio

pytestmark = pytest.mark.anyio


def answer(result):
    return result["result"]["content"][0]["text"] if "result" in result else result["error"]


def test_a_killed_stdio_target_comes_back(federation, github, wire):
    proxy = federation(github.target("github"), stdio("local"))
    client = wire(proxy)
    client.initialize()
    child = client.call("local_process")["result"]["structuredContent"]["result"]
    os.kill(child, signal.SIGKILL)
    until(lambda: child not in proxy.children(), what="the process to be gone and reaped")
    assert answer(client.call("github_search_code", query="x")) == "github found x", "others are not concerned"
    until(lambda: answer(client.call("local_search_code", query="y")) == "local found y", timeout=10, what="the target to be back", interval=0.1)
    assert client.call("local_process")["result"]["structuredContent"]["result"] != child


def test_a_call_on_a_stdio_target_that_dies_fails_at_once(federation, github, wire):
    proxy = federation(github.target("github"), stdio("local"))
    client, other = wire(proxy), wire(proxy)
    client.initialize()
    child = client.call("local_process")["result"]["structuredContent"]["result"]
    other.session = client.session
    results = []
    thread = threading.Thread(target=lambda: results.append(client.call("local_slow", seconds=30)))
    thread.start()
    until(lambda: proxy.metric("agentgateway_downstream_connections") >= 1)
    assert answer(other.call("github_search_code", query="x")) == "github found x"
    os.kill(child, signal.SIGKILL)
    thread.join(5)
    assert results and "local" in results[0]["error"]["message"]


def test_a_killed_http_target_is_back_within_two_seconds(federation, github, mcp_server, wire):
    server = mcp_server("other").wait_ready()
    proxy = federation(github.target("github"), server.target("other"))
    client = wire(proxy)
    client.initialize()
    assert answer(client.call("other_search_code", query="x")) == "other found x"
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    failed = client.call("other_search_code", query="x")
    assert "other" in failed["error"]["message"], failed
    assert answer(client.call("github_search_code", query="x")) == "github found x"
    again = mcp_server("other", server.port).wait_ready()
    until(lambda: answer(client.call("other_search_code", query="x")) == "other found x", timeout=2, what="the target to be back", interval=0.05)
    again.close()


def test_lists_show_what_is_left(federation, github, mcp_server, wire):
    server = mcp_server("other").wait_ready()
    proxy = federation(github.target("github"), server.target("other"))
    client = wire(proxy)
    client.initialize()
    server.close()
    begin = time.monotonic()
    names = [tool["name"] for tool in client.request("tools/list")["result"]["tools"]]
    assert "github_search_code" in names and not [n for n in names if n.startswith("other")]
    assert time.monotonic() - begin < 5


async def test_a_target_that_is_down_at_the_start_holds_up_nobody(federation, github, ports, mcp_server):
    port = ports.free()
    absent = {"name": "absent", "mcp": {"host": "127.0.0.1", "port": port}}
    proxy = federation(github.target("github"), absent)
    async with connect(proxy.url, mode="legacy", cache=None) as client:
        with anyio.fail_after(5):
            assert {n.split("_")[0] for n in await tool_names(client)} == {"github"}
            assert text(await client.call_tool("github_search_code", {"query": "x"})) == "github found x"
        server = mcp_server("absent", port).wait_ready()
        with anyio.fail_after(10):
            while "absent_search_code" not in await tool_names(client):
                await anyio.sleep(0.1)
        assert text(await client.call_tool("absent_search_code", {"query": "x"})) == "absent found x"
        server.close()


def test_a_cold_stdio_target_holds_up_nobody(federation, github, wire):
    """As `npx` and `uvx` do on a machine where they have to download first.

    The handshake waits a while for it, since most clients list tools once, right after; calls of others never do.
    """
    proxy = federation(github.target("github"), stdio("cold", env={"START_DELAY": "13"}))
    client = wire(proxy)
    begin = time.monotonic()
    client.initialize()
    assert time.monotonic() - begin < 12
    called = time.monotonic()
    for _ in range(3):
        assert answer(client.call("github_search_code", query="x")) == "github found x"
    assert time.monotonic() - called < 2
    names = [tool["name"] for tool in client.request("tools/list")["result"]["tools"]]
    assert "github_search_code" in names and "cold_search_code" in names
    assert answer(client.call("cold_search_code", query="x")) == "cold found x"
    assert time.monotonic() - begin > 13


async def test_a_command_that_does_not_exist(federation, github):
    broken = {"name": "broken", "stdio": {"cmd": "no-such-command-anywhere"}}
    proxy = federation(github.target("github"), broken)
    async with connect(proxy.url) as client:
        assert text(await client.call_tool("github_search_code", {"query": "x"})) == "github found x"
        with pytest.raises(Exception, match="broken"):
            await client.call_tool("broken_search_code", {"query": "x"})
    assert "no-such-command-anywhere" in "\n".join(proxy.err)


async def test_a_server_that_forgot_its_session_is_greeted_again(federation, mcp_server):
    """A restarted server knows no session; the client's call succeeds all the same."""
    server = mcp_server("other").wait_ready()
    proxy = federation(server.target("other"))
    async with connect(proxy.url, mode="legacy") as client:
        await client.call_tool("search_code", {"query": "x"})
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        again = mcp_server("other", server.port).wait_ready()
        assert text(await client.call_tool("search_code", {"query": "y"})) == "other found y"
        again.close()


BREAKER = {"circuitBreaker": {"consecutiveFailures": 2, "duration": "2s"}}
OPEN = "agentgateway_mcp_target_circuit_open"


def test_a_target_that_never_answers_is_not_asked_for_a_while(federation, github, mcp_server, wire):
    server = mcp_server("other").wait_ready()
    guarded = {**server.target("other"), **BREAKER, "timeouts": {"requestTimeout": "500ms", "connectTimeout": "1s"}}
    proxy = federation(github.target("github"), guarded)
    client = wire(proxy)
    client.initialize()
    assert answer(client.call("other_search_code", query="x")) == "other found x"
    assert proxy.metric(OPEN, target="other") == 0
    server.signal(signal.SIGSTOP)
    for _ in range(2):
        begin = time.monotonic()
        assert "within 0.5 s" in client.call("other_search_code", query="x")["error"]["message"]
        assert 0.4 < time.monotonic() - begin < 2
    begin = time.monotonic()
    refused = client.call("other_search_code", query="x")["error"]
    assert refused["data"] == {"target": "other", "reason": "circuit_open"}, refused
    names = [tool["name"] for tool in client.request("tools/list")["result"]["tools"]]
    assert "github_search_code" in names and "other_search_code" not in names
    assert time.monotonic() - begin < 0.4, "nobody waits for it"
    assert answer(client.call("github_search_code", query="x")) == "github found x"
    assert proxy.metric(OPEN, target="other") == 1 and proxy.metric(f"{OPEN}ed_total", target="other") == 1
    assert proxy.metric("agentgateway_mcp_target_circuit_refused_total", target="other") >= 2
    proxy.wait_for("circuit opened.*other")
    # A client that comes now does not wait for its handshake either.
    begin = time.monotonic()
    late = wire(proxy)
    late.initialize()
    assert answer(late.call("github_search_code", query="x")) == "github found x"
    assert time.monotonic() - begin < 0.4
    # The one request that tries fails: the others are refused still.
    until(lambda: "within" in client.call("other_search_code", query="x")["error"]["message"], timeout=4, what="a try", interval=0.1)
    assert client.call("other_search_code", query="x")["error"]["data"]["reason"] == "circuit_open"
    server.signal(signal.SIGCONT)
    until(lambda: answer(client.call("other_search_code", query="x")) == "other found x", timeout=5, what="the target to be back", interval=0.1)
    assert proxy.metric(OPEN, target="other") == 0
    proxy.wait_for("circuit closed.*other")
    dumped = [t for b in proxy.dump()["backends"] if "mcp" in b for t in b["mcp"]["target"]["targets"]]
    assert dumped[1]["circuitBreaker"] == {"consecutiveFailures": 2, "durationMilliseconds": 2000}
    assert (dumped[1]["requestTimeoutMilliseconds"], dumped[1]["connectTimeoutMilliseconds"]) == (500, 1000)


@pytest.mark.parametrize("federated", [False, True], ids=["one target", "several"])
def test_a_guarded_target_that_was_killed_comes_back(federation, github, mcp_server, wire, federated):
    server = mcp_server("other").wait_ready()
    proxy = federation({**server.target("other"), **BREAKER}, *([github.target("github")] if federated else []))
    tool = "other_search_code" if federated else "search_code"
    client = wire(proxy)
    client.initialize()
    assert answer(client.call(tool, query="x")) == "other found x"
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    reasons = [client.call(tool, query="x")["error"]["data"]["reason"] for _ in range(4)]
    assert reasons == ["unreachable", "unreachable", "circuit_open", "circuit_open"]
    again = mcp_server("other", server.port).wait_ready()
    until(lambda: answer(client.call(tool, query="x")) == "other found x", timeout=5, what="the target to be back", interval=0.1)
    assert proxy.metric(OPEN, target="other") == 0
    again.close()


def test_a_guarded_process_that_never_answers(federation, github, wire):
    guarded = {**stdio("local"), **BREAKER, "timeouts": {"requestTimeout": "300ms"}}
    proxy = federation(github.target("github"), guarded)
    client = wire(proxy)
    client.initialize()
    assert answer(client.call("local_search_code", query="x")) == "local found x"
    reasons = [client.call("local_slow", seconds=2)["error"]["data"]["reason"] for _ in range(3)]
    assert reasons == ["timeout", "timeout", "circuit_open"]
    assert answer(client.call("github_search_code", query="x")) == "github found x"
    until(lambda: answer(client.call("local_search_code", query="x")) == "local found x", timeout=8, what="the target to be back", interval=0.1)


def test_processes_end_with_the_proxy(federation, wire):
    proxy = federation(stdio("local"))
    pids = []
    for _ in range(3):
        client = wire(proxy)
        client.initialize()
        pids.append(client.call("process")["result"]["structuredContent"]["result"])
    proxy.terminate()
    assert proxy.wait() == 0
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}")


def test_environment_of_a_stdio_target(federation, wire, everything):
    """What the configuration adds is there."""
    from support import paths

    target = {"name": "everything", "stdio": {"cmd": str(paths.EVERYTHING), "env": {"GREETING": "hello there"}}}
    proxy = federation(target)
    client = wire(proxy)
    client.initialize()
    assert "hello there" in answer(client.call("get-env"))


def test_a_reload_keeps_sessions(federation, github, wire):
    """Sessions live on with their processes when the file changes elsewhere."""
    proxy = federation(stdio("local"))
    client = wire(proxy)
    client.initialize()
    child = client.call("process")["result"]["structuredContent"]["result"]
    proxy.reload(proxy.config.read_text().replace("workers: 2", "workers: 2\n  accessLog: true"))
    assert client.call("process")["result"]["structuredContent"]["result"] == child
