"""How names are formed, what a failing target does to the others, and lists that have pages."""

import sys

import pytest
from mcp.shared.exceptions import MCPError

from support import paths
from support.mcp_client import connect, text, tool_names

from .conftest import Server, stdio

pytestmark = pytest.mark.anyio

MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])


@MODES
async def test_names_always_carry_their_target(federation, mode):
    proxy = federation(stdio("local"), mcp={"prefixMode": "Always"})
    async with connect(proxy.url, mode=mode) as client:
        assert "local_search_code" in await tool_names(client)
        assert text(await client.call_tool("local_search_code", {"query": "x"})) == "local found x"


@MODES
async def test_names_never_carry_their_target(federation, github, everything, mode):
    proxy = federation(github.target("github"), stdio("local"), everything.target("everything"), mcp={"prefixMode": "Never"})
    async with connect(proxy.url, mode=mode) as client:
        # A tool can be called by a client that has never listed it here.
        assert text(await client.call_tool("echo", {"message": "hello"})) == "Echo: hello"
        names = await tool_names(client)
        assert {"search_code", "echo"} <= set(names)
        assert len(names) == len(set(names)), "of two with one name, one is seen"
        assert text(await client.call_tool("search_code", {"query": "x"})) == "github found x"
        assert (await client.get_prompt("review", {"code": "y"})).messages[0].content.text == "github asks to review y"


@MODES
async def test_a_failed_target_closes_all(federation, github, ports, mode):
    nobody = {"name": "nobody", "mcp": {"host": "127.0.0.1", "port": ports.free()}}
    proxy = federation(github.target("github"), nobody)
    async with connect(proxy.url, mode=mode) as client:
        assert "github_search_code" in await tool_names(client)
    proxy = federation(github.target("github"), nobody, mcp={"failureMode": "FailClosed"})
    with pytest.raises(MCPError, match="nobody"):
        async with connect(proxy.url, mode=mode) as client:
            await tool_names(client)


@MODES
async def test_all_pages_of_every_list(federation, ports, mode):
    """120 tools in pages of 25, of two servers."""
    servers = []
    try:
        for name in ("one", "two"):
            port = ports.free()
            command = [sys.executable, paths.TESTS / "support" / "mcp_pages.py", name, port, 60, 25]
            servers.append((name, Server(command, port)))
        proxy = federation(*(server.wait_ready().target(name) for name, server in servers))
        async with connect(proxy.url, mode=mode) as client:
            names = await tool_names(client)
            assert sorted(names) == sorted(f"{name}_tool_{n}" for name in ("one", "two") for n in range(60))
            assert text(await client.call_tool("two_tool_59", {})) == "two tool_59"
    finally:
        for _, server in servers:
            server.close()
