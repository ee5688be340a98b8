"""A part of the official MCP conformance suite, directly and through the proxy; all of it is `make mcp-conformance`."""

import subprocess
import sys

import pytest

from support import paths

FOLDER = paths.TESTS.parent / "conformance" / "mcp"


@pytest.mark.timeout(300)
def test_nothing_fails_through_the_proxy_alone():
    subprocess.run([FOLDER / "setup.sh"], check=True, timeout=120)
    command = [sys.executable, FOLDER / "run.py", paths.agentgateway(), "--short"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280)
    assert done.returncode == 0, done.stdout
