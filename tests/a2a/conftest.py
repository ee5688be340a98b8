"""Fixtures for A2A: sample agents and clients of both SDKs, each in the environment of its version, and proxies before them."""

import contextlib
import socket

import pytest

from support.a2a_client import HERE, python
from support.ports import Ports
from support.process import Process
from support.proxy import clean_environment
from support.wait import until

class Agent(Process):
    """A sample agent; `requests` are those that it was sent, as its own log tells them."""

    def __init__(self, version, port):
        self.version, self.port = version, port
        super().__init__([python(version), HERE / f"agent_{version}.py", str(port)], env=clean_environment())

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    def requests(self):
        return [line for line in self.out if "HTTP/1.1" in line]

    def wait_ready(self):
        def listens():
            assert self.running, "\n".join(self.err[-20:])
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True

        until(listens, timeout=40, what=f"the agent on port {self.port}", interval=0.1)
        return self


@pytest.fixture
def agent(ports):
    """Starts sample agents."""
    with contextlib.ExitStack() as stack:

        def make(version, port=None) -> Agent:
            made = Agent(version, port or ports.free())
            stack.callback(made.close)
            return made.wait_ready()

        yield make


@pytest.fixture(scope="session", params=["v1", "v03"])
def lasting(request):
    """A sample agent of each version, for tests that do not harm it."""
    ports = Ports()
    made = Agent(request.param, ports.free())
    yield made.wait_ready()
    made.close()
    ports.close()
