"""Fixtures for MCP: servers from their own packages, the official client, and proxies in front of them."""

import contextlib
import os
import socket
import sys

import pytest

from support import paths
from support.mcp_client import Wire
from support.ports import Ports
from support.process import Process
from support.proxy import clean_environment, routes
from support.wait import until

SERVER = paths.TESTS / "support" / "mcp_server.py"


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Server(Process):
    """An MCP server over HTTP; it can be killed and started again on its port."""

    def __init__(self, command, port, env=None):
        self.port, self._command, self._env = port, command, {**clean_environment(), **(env or {})}
        super().__init__(command, env=self._env)

    def wait_ready(self):
        def listens():
            assert self.running, "\n".join(self.err[-20:])
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True

        until(listens, timeout=30, what=f"the MCP server on port {self.port}", interval=0.05)
        return self

    def target(self, name, **fields):
        return {"name": name, "mcp": {"host": "127.0.0.1", "port": self.port, **fields}}


def fixture_server(name, port, env=None) -> Server:
    return Server([sys.executable, SERVER, name, port], port, env)


@pytest.fixture(scope="session")
def github():
    """The fixture server under the book's name; shared by tests that do not harm it."""
    ports = Ports()
    server = fixture_server("github", ports.free())
    yield server.wait_ready()
    server.close()
    ports.close()


@pytest.fixture(scope="session")
def everything():
    """server-everything over streamable HTTP; shared by tests that do not harm it."""
    ports = Ports()
    port = ports.free()
    server = Server([paths.EVERYTHING, "streamableHttp"], port, {"PORT": str(port)})
    yield server.wait_ready()
    server.close()
    ports.close()


@pytest.fixture
def mcp_server(ports):
    """Makes fixture servers for tests that harm them."""
    with contextlib.ExitStack() as stack:

        def make(name, port=None, env=None) -> Server:
            server = fixture_server(name, port or ports.free(), env)
            stack.callback(server.close)
            return server

        yield make


def stdio(name, server=None, env=None) -> dict:
    """The fixture server as a target over stdio."""
    fields = {"cmd": sys.executable, "args": [str(SERVER), server or name]}
    return {"name": name, "stdio": {**fields, **({"env": env} if env else {})}}


# `uvx` and `npx` are the real ones. uvx takes the server from the cache that setup.sh filled; npx finds the server in
# the folder that the proxy runs in. Neither asks the network.
BOOK_ENVIRONMENT = {
    "PATH": f"{paths.VENV_BIN}:{os.environ['PATH']}",
    "UV_CACHE_DIR": str(paths.UV_CACHE),
    "UV_OFFLINE": "1",
    "NPM_CONFIG_OFFLINE": "true",
    "NPM_CONFIG_UPDATE_NOTIFIER": "false",
}


@pytest.fixture
def federation(start, ports):
    """Starts a proxy with these targets behind one route; `url` is where clients go."""

    def make(*targets, mcp=None, policies=None, backend_policies=None, listener_policies=None, config=None, **options):
        share = {"mcp": {"targets": list(targets), **(mcp or {})}}
        if backend_policies:
            share["policies"] = backend_policies
        route = {"backends": [share], **({"policies": policies} if policies else {})}
        proxy = start(routes(ports.free(), route, policies=listener_policies, config=config), **options)
        proxy.url = f"http://127.0.0.1:{proxy.port}/mcp"
        return proxy

    return make


@pytest.fixture
def wire():
    """Makes clients that send exactly the messages they are told."""
    with contextlib.ExitStack() as stack:
        yield lambda proxy, **options: stack.enter_context(Wire(proxy.port, **options))
