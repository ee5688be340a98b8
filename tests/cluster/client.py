"""The official MCP client as a program: lists the tools of a server, calls one, prints both as JSON.

    client.py URL [TOOL ARGUMENTS-AS-JSON]
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


async def main(url, tool=None, arguments="{}"):
    async with streamable_http_client(url) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            started = await session.initialize()
            listed = await session.list_tools()
            answer = {"server": started.server_info.name, "tools": sorted(tool.name for tool in listed.tools)}
            if tool:
                try:
                    result = await session.call_tool(tool, json.loads(arguments))
                    answer["text"] = result.content[0].text
                    answer["is_error"] = bool(result.is_error)
                except MCPError as error:
                    answer["error"] = str(error)
            print(json.dumps(answer))


asyncio.run(main(*sys.argv[1:]))
