"""HTTP/2 by h2spec, the suite for it: https://github.com/summerwind/h2spec."""

import subprocess
import xml.etree.ElementTree as xml

import pytest

from support import paths
from support.http1 import Raw
from support.proxy import document, to

# The suite is built by the first test that needs it, which takes a while on a busy machine.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def h2spec():
    program = paths.ROOT / "build" / "bin" / "h2spec"
    if not program.exists():
        subprocess.run([paths.ROOT / "conformance" / "h2spec.sh"], check=True, timeout=250)
    return program


def failures(program, report, port, *flags) -> tuple[set, str]:
    """The cases that fail, and what the suite printed; that all ran is checked here."""
    # The delay keeps streams open while the suite sends what their windows do not allow.
    path = ["-P", "/?size=1000&delay=0.03"]
    command = [program, "--strict", "-h", "127.0.0.1", "-p", str(port), *path, "-o", "5", "-j", report, *flags]
    output = subprocess.run(command, capture_output=True, text=True, timeout=80).stdout
    cases = list(xml.parse(report).getroot().iter("testcase"))
    assert len(cases) >= 146, output
    assert not [case for case in cases if case.find("skipped") is not None], output
    broken = (case for case in cases if case.find("failure") is not None or case.find("error") is not None)
    return {(case.get("package"), case.get("classname")) for case in broken}, output


def test_h2spec_in_plaintext(gateway, backend, h2spec, tmp_path):
    proxy = gateway(to(backend(), matches=[{"path": {"pathPrefix": "/"}}]))
    failed, output = failures(h2spec, tmp_path / "h2spec.xml", proxy.port)
    assert not failed, output
    # Whatever the suite did, the proxy serves.
    assert proxy.get().status == 200


def test_h2spec_over_tls(start, ports, backend, authority, h2spec, tmp_path):
    listener = {"protocol": "HTTPS", "tls": authority.issue("127.0.0.1").files, "routes": [to(backend())]}
    proxy = start(document([{"port": ports.free(), "listeners": [listener]}]))
    failed, output = failures(h2spec, tmp_path / "h2spec.xml", proxy.port, "-t", "-k")
    assert not failed, output


def test_what_is_of_no_protocol_ends_the_connection_without_an_answer(gateway, backend):
    proxy = gateway(to(backend()))
    with Raw(proxy.port) as raw:
        raw.send("INVALID CONNECTION PREFACE\r\n\r\n")
        assert raw.read_to_end() == b""
