"""MCP clients: the official one with headers, and one that sends exactly the messages it is told."""

import contextlib
import json

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from . import http1

ACCEPT = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")]
VERSION = "2025-06-18"


@contextlib.asynccontextmanager
async def connect(url: str, token: str | None = None, headers=None, **options):
    """The official client. Raises what went wrong, without the groups that task groups make of it."""
    headers = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    try:
        async with create_mcp_http_client(headers=headers) as http:
            async with Client(streamable_http_client(url, http_client=http), **options) as client:
                yield client
    except BaseExceptionGroup as group:
        error = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from group


def text(result) -> str:
    """The text of a tool's result."""
    return "".join(part.text for part in result.content)


async def tool_names(client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


class Wire:
    """One client on one kept connection."""

    def __init__(self, port: int, path="/mcp", headers=(), timeout: float = 30.0):
        self._http = http1.Client(port, timeout=timeout)
        self.path, self.headers = path, list(headers)
        self.session: str | None = None
        self._id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._http.close()

    def post(self, message, session="own", headers=()) -> http1.Response:
        session = self.session if session == "own" else session
        pairs = ACCEPT + self.headers + list(headers) + ([("mcp-session-id", session)] if session else [])
        return self._http.request(self.path, "POST", pairs, json.dumps(message).encode())

    def request(self, method, params=None, **options) -> dict:
        """Sends a request, and gives its answer, wherever in the response it is."""
        self._id += 1
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, **({"params": params} if params is not None else {})}
        response = self.post(message, **options)
        answers = [m for m in messages(response) if m.get("id") == self._id and ("result" in m or "error" in m)]
        assert answers, (response.status, response.body)
        return answers[0]

    def initialize(self, capabilities=None) -> http1.Response:
        params = {"protocolVersion": VERSION, "capabilities": capabilities or {}, "clientInfo": {"name": "test", "version": "1"}}
        self._id += 1
        response = self.post({"jsonrpc": "2.0", "id": self._id, "method": "initialize", "params": params}, session=None)
        self.session = response.header("mcp-session-id")
        if self.session:
            self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return response

    def call(self, tool, **arguments) -> dict:
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def delete(self, session="own") -> http1.Response:
        session = self.session if session == "own" else session
        return self._http.request(self.path, "DELETE", self.headers + ([("mcp-session-id", session)] if session else []))


def messages(response) -> list[dict]:
    """All messages of a response, JSON or stream."""
    if (response.header("content-type") or "").startswith("text/event-stream"):
        lines = response.text.splitlines()
        return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:") and line[5:].strip()]
    return [json.loads(response.body)] if response.body else []
