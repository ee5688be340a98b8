"""HTTP APIs as MCP servers, by their OpenAPI documents."""

import json
import os
import signal
import sys

import pytest

from support import paths
from support.mcp_client import connect, text, tool_names

from .conftest import Server

pytestmark = pytest.mark.anyio

DOCUMENT = paths.TESTS / "data" / "orders.openapi.json"


@pytest.fixture
def api(ports):
    port = ports.free()
    server = Server([sys.executable, paths.TESTS / "support" / "http_api.py", port], port)
    yield server.wait_ready()
    server.close()


def orders(api, **fields):
    openapi = {"host": "127.0.0.1", "port": api.port, "schema": {"file": str(DOCUMENT)}}
    return {"name": "orders", "openapi": openapi, **fields}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_operations_are_tools(federation, api, mode):
    proxy = federation(orders(api))
    async with connect(proxy.url, mode=mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(listed) == ["list_orders", "add_order", "get_order", "remove_order", "seen"]
        schema = listed["add_order"].input_schema
        assert schema["required"] == ["body"] and schema["properties"]["body"]["required"] == ["item"]
        found = await client.call_tool("list_orders", {"status": "open", "tags": ["a b", "c&d"]})
        assert not found.is_error
        assert found.structured_content["query"] == {"status": ["open"], "tags": ["a b", "c&d"]}
        assert json.loads(text(found)) == found.structured_content
        assert (await client.call_tool("get_order", {"id": "a/b"})).structured_content["item"] == "desk"
        added = await client.call_tool("add_order", {"body": {"item": "chair", "parts": [{"item": "leg"}]}})
        assert added.structured_content == {"id": "2", "status": "open", "item": "chair", "parts": [{"item": "leg"}]}
        assert text(await client.call_tool("remove_order", {"id": "1"})) == "HTTP 204"


async def test_errors_are_for_the_model(federation, api):
    proxy = federation(orders(api))
    async with connect(proxy.url) as client:
        for tool, arguments, words in [
            ("get_order", {"id": "9"}, 'HTTP 404: {"detail": "no order 9"}'),
            ("get_order", {"id": ".."}, 'must not be "." or ".."'),
            ("get_order", {}, 'argument "id": is missing'),
            ("get_order", {"id": "1", "more": 1}, 'argument "more": is not one of this tool'),
            ("add_order", {"body": {}}, "an order needs an item"),
        ]:
            failed = await client.call_tool(tool, arguments)
            assert failed.is_error and words in text(failed), failed
        with pytest.raises(Exception, match="Unknown tool"):
            await client.call_tool("nobody", {})
        os.kill(api.pid, signal.SIGKILL)
        api.wait()
        with pytest.raises(Exception, match="orders"):
            await client.call_tool("get_order", {"id": "1"})


async def test_credentials_are_the_gateways(federation, api, github):
    proxy = federation(orders(api), github.target("github"), backend_policies={"backendAuth": {"key": {"value": {"inline": "the-key"}}}})
    async with connect(proxy.url, headers={"authorization": "Bearer of-the-client", "cookie": "of=the-client"}) as client:
        assert {"orders_seen", "github_search_code"} <= set(await tool_names(client))
        seen = (await client.call_tool("orders_seen", {"X-Tenant": "t1", "basket": "b;1"})).structured_content
        assert (seen["authorization"], seen["x-tenant"], seen["cookie"]) == ("Bearer the-key", "t1", "basket=b%3B1")
        assert seen["host"] == f"127.0.0.1:{api.port}"
        assert text(await client.call_tool("github_search_code", {"query": "x"})) == "github found x"


async def test_rules_and_metrics_of_its_tools(federation, api):
    rules = {"mcpAuthorization": {"rules": [{"allow": "mcp.tool.name == 'list_orders'"}]}}
    proxy = federation(orders(api), policies=rules)
    async with connect(proxy.url) as client:
        assert await tool_names(client) == ["list_orders"]
        await client.call_tool("list_orders", {})
        with pytest.raises(Exception, match="Unknown tool"):
            await client.call_tool("remove_order", {"id": "1"})
    assert proxy.metric("agentgateway_mcp_requests_total", target="orders", method="tools/call", outcome="ok") == 1
    assert proxy.metric("agentgateway_mcp_tool_calls_total", target="orders", tool="list_orders", outcome="ok") == 1
    assert proxy.metric("agentgateway_mcp_tool_call_duration_seconds_count", target="orders", tool="list_orders") == 1
    [target] = [t for b in proxy.dump()["backends"] if "mcp" in b for t in b["mcp"]["target"]["targets"]]
    assert "openapi" in target
