"""Clients of the A2A SDKs, each in the environment of its version."""

import json
import subprocess

from . import paths
from .proxy import clean_environment

HERE = paths.TESTS / "a2a"


def python(version):
    program = paths.ENVIRONMENT / f"a2a-{version}" / "bin" / "python"
    assert program.exists(), f"{program} is missing: run tests/setup.sh"
    return program


def client(version, url, binding, *arguments):
    """What a client of the SDK saw."""
    command = [python(version), HERE / f"client_{version}.py", url, binding, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)
