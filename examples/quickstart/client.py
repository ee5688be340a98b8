"""Lists the tools of an MCP server, calls one, and prints what it answers; needs the `mcp` package from PyPI.

    client.py URL TOOL [NAME=VALUE...]
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


def value(text):
    """Numbers, true and false as such, everything else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


async def main(url, tool, *arguments):
    async with streamable_http_client(url) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            listed = await session.list_tools()
            print("tools:", *sorted(tool.name for tool in listed.tools))
            given = {name: value(text) for name, text in (pair.split("=", 1) for pair in arguments)}
            result = await session.call_tool(tool, given)
            print(f"{tool}:", *(content.text for content in result.content if content.type == "text"))


if len(sys.argv) < 3:
    sys.exit(__doc__)
asyncio.run(main(*sys.argv[1:]))
