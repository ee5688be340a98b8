"""The systemd unit: systemd itself reads it, and finds little that the service could do beyond its task."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parent.parent.parent / "deploy" / "systemd" / "agentgateway.service"

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")


@pytest.fixture
def unit(tmp_path):
    """The unit with a program in place of the one that is not installed here."""
    program = tmp_path / "agentgateway"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/agentgateway", str(program)))
    return copy


def analyze(*words):
    return subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True)


def test_systemd_takes_the_unit(unit):
    done = analyze("verify", unit)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_service_is_confined(unit):
    done = analyze("security", "--offline=true", "--threshold=20", unit)
    assert done.returncode == 0, done.stdout[-2000:]
