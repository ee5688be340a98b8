"""One target and several: names, lists, prompts, resources, calls, and traffic in both directions."""

import json

import anyio
import pytest
from mcp import types

from support.mcp_client import connect, messages, text, tool_names
from support.http1 import Client

from .conftest import stdio

pytestmark = pytest.mark.anyio

MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])


@MODES
async def test_one_target_keeps_its_names(federation, everything, mode):
    direct_url = f"http://127.0.0.1:{everything.port}/mcp"
    proxy = federation(everything.target("everything"))
    async with connect(direct_url, mode=mode) as direct, connect(proxy.url, mode=mode) as client:
        assert await tool_names(client) == await tool_names(direct)
        assert (await client.list_prompts()).prompts == (await direct.list_prompts()).prompts
        assert (await client.list_resources()).resources == (await direct.list_resources()).resources
        assert (await client.list_resource_templates()).resource_templates == (await direct.list_resource_templates()).resource_templates
        assert client.server_info == direct.server_info
        assert text(await client.call_tool("echo", {"message": "hello"})) == "Echo: hello"
        uri = "demo://resource/static/document/architecture.md"
        assert (await client.read_resource(uri)).contents == (await direct.read_resource(uri)).contents
        prompt = {"city": "Bern"}
        assert (await client.get_prompt("args-prompt", prompt)).messages == (await direct.get_prompt("args-prompt", prompt)).messages


async def test_one_stdio_target_keeps_its_names(federation):
    proxy = federation(stdio("only"))
    async with connect(proxy.url) as client:
        assert "search_code" in await tool_names(client)
        assert text(await client.call_tool("search_code", {"query": "x"})) == "only found x"


async def test_any_path_of_the_route_is_the_endpoint(federation, github):
    """Clients of the book's chapter 5 are given the address without a path."""
    proxy = federation(github.target("github"))
    for path in ("", "/", "/mcp", "/anything"):
        async with connect(f"http://127.0.0.1:{proxy.port}{path}") as client:
            assert "search_code" in await tool_names(client)


async def test_several_targets_carry_their_names(federation, github, everything):
    proxy = federation(github.target("github"), everything.target("everything"), stdio("local"))
    async with connect(proxy.url) as client:
        names = await tool_names(client)
        assert {"github_search_code", "local_search_code", "everything_echo"} <= set(names)
        assert len(names) == len(set(names))
        for target in ("github", "local"):
            assert text(await client.call_tool(f"{target}_search_code", {"query": "x"})) == f"{target} found x"
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert {"github_review", "local_review", "everything_simple-prompt"} <= prompts
        got = await client.get_prompt("local_review", {"code": "y"})
        assert got.messages[0].content.text == "local asks to review y"


async def test_resources_of_several_targets(federation, github):
    proxy = federation(github.target("github"), stdio("local"))
    async with connect(proxy.url) as client:
        uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert len(uris) == 2 and len(set(uris)) == 2
        read = {(await client.read_resource(uri)).contents[0].text for uri in uris}
        assert read == {"github memo first", "local memo first"}
        templates = [t.uri_template for t in (await client.list_resource_templates()).resource_templates]
        (template,) = [t for t in templates if t.startswith("local")]
        got = await client.read_resource(template.replace("{number}", "7"))
        assert got.contents[0].text == "local memo 7"


async def test_unknown_tools_of_a_federation(federation, github):
    proxy = federation(github.target("github"), stdio("local"))
    async with connect(proxy.url) as client:
        for name in ("search_code", "nobody_search_code", "github", ""):
            with pytest.raises(Exception):
                await client.call_tool(name, {"query": "x"})
        result = await client.call_tool("github_absent", {})
        assert result.is_error, "the server's own answer"


async def test_headers_reach_the_server_and_credentials_do_not(federation, github):
    proxy = federation(github.target("github"))
    async with connect(proxy.url, headers={"x-request-id": "42"}) as client:
        got = json.loads(text(await client.call_tool("headers", {})))
    assert got["host"] == f"127.0.0.1:{github.port}"


async def test_progress(federation, github):
    proxy = federation(github.target("github"), stdio("local"))
    for target in ("github", "local"):
        seen = []

        async def note(progress, total, message):
            seen.append((progress, total, message))

        async with connect(proxy.url, mode="legacy") as client:
            assert text(await client.call_tool(f"{target}_progress", {}, progress_callback=note)) == f"{target} is done"
        assert seen == [(n, 3, f"step {n}") for n in (1, 2, 3)], target


@pytest.mark.parametrize("federated", [False, True], ids=["one target", "several"])
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_requests_of_servers_reach_the_client(federation, everything, github, federated, transport):
    """Sampling, elicitation and roots: the server asks in the middle of a call, and its client answers."""
    from support import paths

    local = {"name": "everything", "stdio": {"cmd": str(paths.EVERYTHING)}}
    target = everything.target("everything") if transport == "http" else local
    proxy = federation(target, *([github.target("github")] if federated else []))
    prefix = "everything_" if federated else ""
    asked = []

    async def sample(context, params):
        asked.append(("sampling", params.messages[0].content.text))
        content = types.TextContent(type="text", text="what the model says")
        return types.CreateMessageResult(role="assistant", content=content, model="test")

    async def elicit(context, params):
        asked.append(("elicitation", params.message))
        return types.ElicitResult(action="decline")

    async def roots(context):
        asked.append(("roots", None))
        return types.ListRootsResult(roots=[types.Root(uri="file:///tmp/here", name="here")])

    callbacks = {"sampling_callback": sample, "elicitation_callback": elicit, "list_roots_callback": roots}
    async with connect(proxy.url, mode="legacy", **callbacks) as client:
        names = await tool_names(client)
        assert f"{prefix}trigger-sampling-request" in names, "the server knows what the client can do"
        answer = await client.call_tool(f"{prefix}trigger-sampling-request", {"prompt": "tell me", "maxTokens": 10})
        assert "what the model says" in text(answer)
        assert "decline" in text(await client.call_tool(f"{prefix}trigger-elicitation-request", {}))
        assert "file:///tmp/here" in text(await client.call_tool(f"{prefix}get-roots-list", {}))
    kinds = [kind for kind, _ in asked]
    assert {"sampling", "elicitation", "roots"} <= set(kinds)
    assert any("tell me" in detail for kind, detail in asked if kind == "sampling")


@pytest.mark.parametrize("federated", [False, True], ids=["one target", "several"])
async def test_notifications_that_belong_to_no_request(federation, everything, github, federated):
    """On the stream that the client opens with GET."""
    proxy = federation(everything.target("everything"), *([github.target("github")] if federated else []))
    prefix = "everything_" if federated else ""
    came = anyio.Event()
    logged = []

    async def log(params):
        logged.append(params)
        came.set()

    async with connect(proxy.url, mode="legacy", logging_callback=log) as client:
        await client.set_logging_level("debug")
        await client.call_tool(f"{prefix}toggle-simulated-logging", {})
        with anyio.fail_after(20):
            await came.wait()
        await client.call_tool(f"{prefix}toggle-simulated-logging", {})
    assert logged[0].level


async def test_calls_at_once_are_answered_each(federation, github):
    proxy = federation(github.target("github"), stdio("local"))
    results = {}

    async with connect(proxy.url) as client:

        async def call(number):
            target = ("github", "local")[number % 2]
            results[number] = text(await client.call_tool(f"{target}_search_code", {"query": str(number)}))

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(call, number)
    assert results == {n: f"{('github', 'local')[n % 2]} found {n}" for n in range(40)}


async def test_a_slow_call_holds_up_no_other(federation, github):
    proxy = federation(github.target("github"), stdio("local"))
    async with connect(proxy.url) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "local_slow", {"seconds": 5})
            await anyio.sleep(0.1)
            with anyio.fail_after(3):
                assert text(await client.call_tool("local_search_code", {"query": "x"})) == "local found x"
                assert text(await client.call_tool("github_search_code", {"query": "x"})) == "github found x"
            group.cancel_scope.cancel()


async def test_metrics_and_log_name_method_target_and_tool(federation, github):
    proxy = federation(github.target("github"), stdio("local"))
    async with connect(proxy.url, mode="legacy") as client:
        await client.call_tool("local_search_code", {"query": "do-not-log-me"})
        await client.call_tool("local_search_code", {"query": "do-not-log-me"})
    counted = proxy.metric("agentgateway_mcp_requests_total", target="local", method="tools/call", outcome="ok")
    assert counted == 2
    assert proxy.metric("agentgateway_mcp_sessions_begun_total") == 1
    (line, _) = proxy.access_lines("mcp.method=tools/call", count=2)
    assert "mcp.target=local" in line and "mcp.tool=local_search_code" in line
    assert "do-not-log-me" not in "\n".join(proxy.out)


async def test_the_wire_keeps_what_the_proxy_does_not_know(federation, wire):
    """Members of later protocol versions pass unread."""
    proxy = federation(stdio("only"))
    client = wire(proxy)
    client.initialize()
    answer = client.request("tools/call", {"name": "search_code", "arguments": {"query": "x"}, "_meta": {"future/field": {"deep": [1]}}})
    assert answer["result"]["content"][0]["text"] == "only found x"


def test_malformed_messages_get_an_error(federation, wire):
    proxy = federation(stdio("only"))
    client = wire(proxy)
    client.initialize()
    with Client(proxy.port) as raw:
        from support.mcp_client import ACCEPT

        headers = ACCEPT + [("mcp-session-id", client.session)]
        for body in (b"", b"{", b"[]", b"5", b'{"jsonrpc":"1.0","id":1,"method":"ping"}', b'{"jsonrpc":"2.0"}'):
            response = raw.request("/mcp", "POST", headers, body)
            assert response.status == 400 and "error" in messages(response)[0], body
        assert raw.request("/mcp", "POST", [("content-type", "text/plain"), *headers[:1]], b"{}").status == 415
        assert raw.request("/mcp", "POST", [("accept", "text/html"), ("content-type", "application/json")], b"{}").status == 406
        assert raw.request("/mcp", "PUT", headers, b"{}").status == 405
    assert client.request("ping")["result"] == {}
