"""Runs inside a pod: what pods expect of cluster DNS, and one MCP session with a server found by its name."""

import asyncio
import os
import socket
import struct
import urllib.request

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

NAMESERVER = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")][0]
A, AAAA, SRV = 1, 28, 33


def ask(name, kind, tcp=False):
    """One DNS question; returns the response code and the number of answers."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = struct.pack(">6H", 0x6167, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as connection:
        connection.settimeout(5)
        connection.connect((NAMESERVER, 53))
        connection.sendall((struct.pack(">H", len(query)) if tcp else b"") + query)
        answer = connection.recv(4096)
    if tcp:
        answer = answer[2:]
    return answer[3] & 0x0F, struct.unpack(">H", answer[6:8])[0]


def expect(what, found, wanted):
    assert found == wanted, f"{what}: {found}, not {wanted}"
    print(f"{what}: {found}")


async def tools():
    async with streamable_http_client("http://everything.smoke.svc.cluster.local:3000/mcp") as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            listed = await session.list_tools()
            result = await session.call_tool("echo", {"message": "hello"})
            return [tool.name for tool in listed.tools], result.content[0].text


full = "echo.smoke.svc.cluster.local"
expect("A", ask(full, A), (0, 1))
expect("A by TCP", ask(full, A, tcp=True), (0, 1))
expect("AAAA of a name with IPv4 alone", ask(full, AAAA), (0, 0))
expect("A of a headless service", ask("echo-pods.smoke.svc.cluster.local", A), (0, 2))
expect("SRV of a named port", ask("_http._tcp." + full, SRV), (0, 1))
expect("no such name", ask("nobody.smoke.svc.cluster.local", A), (3, 0))
expect("short name", socket.gethostbyname("echo"), socket.gethostbyname(full))
expect("ExternalName", socket.gethostbyname("elsewhere"), socket.gethostbyname(full))
with urllib.request.urlopen("http://echo/x", timeout=5) as response:
    expect("HTTP by name", response.status, 200)
expect("user", os.getuid(), 65532)
names, text = asyncio.run(tools())
assert "echo" in names, names
assert "hello" in text, text
print("MCP tools:", *names)
