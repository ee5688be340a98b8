"""Protocol 2026-07-28, and translation between it and the versions with a handshake, one way and the other."""

import json
import sys

import anyio
import pytest
from mcp import types

from support import paths
from support.mcp_client import ACCEPT, connect, messages, text, tool_names

from .conftest import Server, stdio

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
FIXTURE = paths.TESTS.parent / "conformance" / "mcp" / "fixture.py"


@pytest.fixture
def fixture(ports):
    """Makes servers that speak `legacy` versions alone, the `modern` one alone, or `both`."""
    made = []

    def make(mode) -> Server:
        port = ports.free()
        made.append(Server([sys.executable, FIXTURE, port, mode], port))
        return made[-1].wait_ready()

    yield make
    for server in made:
        server.close()


def callbacks(asked):
    async def sample(context, params):
        asked.append("sampling")
        content = types.TextContent(type="text", text="what the model says")
        return types.CreateMessageResult(role="assistant", content=content, model="test")

    async def elicit(context, params):
        asked.append("elicitation")
        names = params.requested_schema["properties"]
        return types.ElicitResult(action="accept", content={name: "Ada" for name in names})

    async def roots(context):
        asked.append("roots")
        return types.ListRootsResult(roots=[types.Root(uri="file:///tmp/here", name="here")])

    return {"sampling_callback": sample, "elicitation_callback": elicit, "list_roots_callback": roots}


def post(proxy, method, params=None, headers=None, meta=META):
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**(params or {}), **({"_meta": meta} if meta else {})}}
    own = {"mcp-protocol-version": MODERN, "mcp-method": method}
    if params and ("name" in params or "uri" in params):
        own["mcp-name"] = params.get("name") or params["uri"]
    own.update(headers or {})
    pairs = ACCEPT + [(name, value) for name, value in own.items() if value is not None]
    return proxy.get("/mcp", "POST", pairs, json.dumps(body).encode())


@pytest.mark.parametrize("federated", [False, True], ids=["one target", "several"])
@pytest.mark.parametrize("server", ["legacy", "modern", "both"])
async def test_a_modern_client_in_front_of_any_server(federation, fixture, github, server, federated):
    proxy = federation(fixture(server).target("fixture"), *([github.target("github")] if federated else []))
    prefix = "fixture_" if federated else ""
    asked = []
    async with connect(proxy.url, mode=MODERN, **callbacks(asked)) as client:
        assert f"{prefix}test_simple_text" in await tool_names(client)
        assert "simple text" in text(await client.call_tool(f"{prefix}test_simple_text", {}))
        if server == "legacy":
            assert "what the model says" in text(await client.call_tool(f"{prefix}test_sampling", {"prompt": "x"}))
            assert "Ada" in text(await client.call_tool(f"{prefix}test_elicitation", {"message": "x"}))
            assert asked == ["sampling", "elicitation"]
        else:
            answer = await client.call_tool(f"{prefix}test_input_required_result_multiple_inputs", {})
            assert text(answer) == "All three are answered."
            assert sorted(asked) == ["elicitation", "roots", "sampling"]


@pytest.mark.parametrize("federated", [False, True], ids=["one target", "several"])
async def test_a_client_with_a_session_in_front_of_a_modern_server(federation, fixture, github, federated):
    proxy = federation(fixture("modern").target("fixture"), *([github.target("github")] if federated else []))
    prefix = "fixture_" if federated else ""
    asked = []
    async with connect(proxy.url, mode="legacy", **callbacks(asked)) as client:
        assert f"{prefix}test_simple_text" in await tool_names(client)
        await client.send_ping()
        answer = await client.call_tool(f"{prefix}test_input_required_result_multiple_inputs", {})
        assert text(answer) == "All three are answered."
        assert sorted(asked) == ["elicitation", "roots", "sampling"]
        answer = await client.call_tool(f"{prefix}test_input_required_result_multi_round", {})
        assert text(answer) == "Your color is Ada."


async def test_both_kinds_in_one_federation(federation, fixture):
    proxy = federation(fixture("legacy").target("old"), fixture("modern").target("new"), stdio("local"))
    for mode in ("legacy", MODERN):
        async with connect(proxy.url, mode=mode) as client:
            names = await tool_names(client)
            assert {"old_test_simple_text", "new_test_simple_text", "local_search_code"} <= set(names)
            for target in ("old", "new"):
                assert "simple text" in text(await client.call_tool(f"{target}_test_simple_text", {}))
            assert text(await client.call_tool("local_search_code", {"query": "x"})) == "local found x"


def test_requests_must_say_what_they_are(federation, fixture):
    proxy = federation(fixture("legacy").target("fixture"))

    def refused(status, code, *arguments, **options):
        response = post(proxy, *arguments, **options)
        (message,) = messages(response)
        assert (response.status, message["error"]["code"], message["id"]) == (status, code, 7), message
        return message["error"]

    refused(400, -32602, "tools/list", meta=None)
    refused(400, -32602, "tools/list", meta={name: value for name, value in META.items() if "Cap" not in name})
    refused(400, -32020, "tools/list", headers={"mcp-method": None})
    refused(400, -32020, "tools/list", headers={"mcp-method": "tools/call"})
    refused(400, -32020, "tools/list", headers={"mcp-protocol-version": "2025-11-25"}, meta=META)
    refused(400, -32020, "tools/call", {"name": "a"}, headers={"mcp-name": "b"})
    later = {**META, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    error = refused(400, -32022, "tools/list", headers={"mcp-protocol-version": "2099-01-01"}, meta=later)
    assert error["data"]["supported"] == [MODERN]
    for method in ("ping", "initialize", "logging/setLevel", "resources/subscribe", "made/up"):
        refused(404, -32601, method)
    error = refused(400, -32021, "tools/call", {"name": "test_sampling", "arguments": {"prompt": "x"}})
    assert error["data"]["requiredCapabilities"] == {"sampling": {}}


def test_a_state_is_for_its_own_caller_and_call(federation, fixture):
    proxy = federation(fixture("legacy").target("fixture"))
    meta = {**META, "io.modelcontextprotocol/clientCapabilities": {"sampling": {}}}
    call = {"name": "test_sampling", "arguments": {"prompt": "x"}}

    def ask(params=call, meta=meta):
        (message,) = messages(post(proxy, "tools/call", params, meta=meta))
        return message.get("result") or message["error"]

    asked = ask()
    assert asked["resultType"] == "input_required"
    ((name, question),) = asked["inputRequests"].items()
    assert question["method"] == "sampling/createMessage"
    state = asked["requestState"]
    said = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "said"}}
    answered = {**call, "inputResponses": {name: said}}
    tampered = state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1]
    assert ask({**answered, "requestState": tampered})["code"] == -32602
    other = {**meta, "io.modelcontextprotocol/clientInfo": {"name": "other", "version": "1"}}
    assert ask({**answered, "requestState": state}, meta=other)["code"] == -32602
    # Without the answer it is asked again.
    asked = ask({**call, "requestState": state})
    assert asked["resultType"] == "input_required"
    result = ask({**answered, "requestState": asked["requestState"]})
    assert result["resultType"] == "complete" and "said" in result["content"][0]["text"]
    assert ask({**answered, "requestState": asked["requestState"]})["code"] == -32602, "a state is good once"


async def test_a_cold_target_holds_up_no_other(federation, fixture):
    cold = {"name": "cold", "stdio": {"cmd": sys.executable, "args": ["-c", "import time; time.sleep(100)"]}}
    proxy = federation(fixture("both").target("warm"), cold)
    with anyio.fail_after(10):
        result = messages(post(proxy, "server/discover"))[0]["result"]
        # What the cold one may have is said to be there until it is known.
        assert result["capabilities"]["prompts"] and result["ttlMs"] == 0
        answer = messages(post(proxy, "tools/call", {"name": "warm_test_simple_text"}))[-1]["result"]
        assert "simple text" in answer["content"][0]["text"]
    with anyio.fail_after(30):
        tools = messages(post(proxy, "tools/list"))[0]["result"]
        assert {"warm_test_simple_text"} <= {tool["name"] for tool in tools["tools"]}


@pytest.mark.parametrize("server", ["legacy", "modern"])
async def test_changes_are_listened_to(federation, fixture, github, server):
    proxy = federation(fixture(server).target("fixture"), github.target("github"))
    async with connect(proxy.url, mode=MODERN) as client:
        async with client.listen(tools_list_changed=True) as changes:
            with anyio.fail_after(20):
                while True:
                    await client.call_tool("fixture_test_trigger_tool_change", {})
                    with anyio.move_on_after(2):
                        change = await anext(aiter(changes))
                        break
        assert "ToolsListChanged" in type(change).__name__ or "tools" in str(change)
