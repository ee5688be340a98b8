"""An MCP server on the official SDK, as a program: `mcp_server.py NAME` over stdio, `mcp_server.py NAME PORT` over HTTP.

Its tools have the names of the book's GitHub server, and there are a few more that tests steer it by.
"""

import os
import sys

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

NAME = sys.argv[1]
server = MCPServer(NAME)


@server.tool()
def search_code(query: str) -> str:
    """Finds code."""
    return f"{NAME} found {query}"


@server.tool()
def get_file_contents(path: str) -> str:
    """Reads a file."""
    return f"{NAME} has {path}"


@server.tool()
def get_pull_request(number: int) -> str:
    """Reads a pull request."""
    return f"{NAME} pull request {number}"


@server.tool()
def delete_repository() -> str:
    """Does what nobody should be able to ask for."""
    return f"{NAME} is gone"


@server.tool()
def headers(ctx: Context) -> dict[str, str]:
    """The headers of the request that this call came with."""
    return {name.lower(): value for name, value in (ctx.headers or {}).items()}


@server.tool()
def trace(ctx: Context) -> str:
    """The place in a trace that this call came with, in its message."""
    return str((ctx.request_context.params or {}).get("_meta", {}).get("traceparent"))


@server.tool()
def process() -> int:
    """The server's process id."""
    return os.getpid()


@server.tool()
async def slow(seconds: float) -> str:
    """Answers late."""
    await anyio.sleep(seconds)
    return f"{NAME} slept"


@server.tool()
async def progress(ctx: Context) -> str:
    """Tells how far it is, three times."""
    for step in (1, 2, 3):
        await ctx.report_progress(step, 3, f"step {step}")
    return f"{NAME} is done"


@server.prompt()
def review(code: str) -> str:
    """Asks for a review."""
    return f"{NAME} asks to review {code}"


@server.resource("memo://{number}/text")
def memo(number: str) -> str:
    """A memo by its number."""
    return f"{NAME} memo {number}"


@server.resource("memo://first")
def first() -> str:
    """The first memo."""
    return f"{NAME} memo first"


if __name__ == "__main__":
    # A server that takes its time to start, as `npx` and `uvx` do when they have to download.
    anyio.run(anyio.sleep, float(os.environ.get("START_DELAY", "0")))
    if len(sys.argv) > 2:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
