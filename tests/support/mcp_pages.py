"""An MCP server whose list of tools has pages: `mcp_pages.py NAME PORT TOOLS PAGE`."""

import sys

import uvicorn
from mcp import types
from mcp.server import Server

NAME, PORT, TOOLS, PAGE = sys.argv[1], *map(int, sys.argv[2:5])


async def list_tools(ctx, params) -> types.ListToolsResult:
    start = int(params.cursor) if params and params.cursor else 0
    end = min(start + PAGE, TOOLS)
    tools = [types.Tool(name=f"tool_{n}", description=f"Tool {n}.", input_schema={"type": "object"}) for n in range(start, end)]
    return types.ListToolsResult(tools=tools, next_cursor=str(end) if end < TOOLS else None)


async def call_tool(ctx, params) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=f"{NAME} {params.name}")])


server = Server(NAME, on_list_tools=list_tools, on_call_tool=call_tool)
uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=PORT, log_level="warning")
