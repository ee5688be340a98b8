#!/usr/bin/env python3
"""Runs the official MCP conformance suite against the fixture server, directly and through the proxy.

`run.py AGENTGATEWAY [--short] [--write]`: exits with 1 when anything fails through the proxy that passes directly, or when
the crossed runs (a client of one kind of protocol, a server of the other) fail in more than what is listed as impossible.
`--write` writes conformance/reports/mcp.json and docs/mcp/conformance.md.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / "build" / "mcp-conformance" / "node_modules"
NEW = [TOOLS / ".bin" / "node", TOOLS / "@modelcontextprotocol" / "conformance" / "dist" / "index.js", "server"]
OLD = [TOOLS / ".bin" / "node", TOOLS / "conformance-0116" / "dist" / "index.js", "server"]

# name, command, arguments
SUITES = {
    "2025-06-18": (NEW, ["--suite", "all", "--spec-version", "2025-06-18"]),
    "2025-11-25": (NEW, ["--requirements", "2025-11-25"]),
    "2026-07-28": (NEW, ["--requirements", "2026-07-28"]),
    "0.1.16": (OLD, ["--suite", "all"]),
}

# Scenarios of the crossed runs that cannot be translated, and why.
IMPOSSIBLE = json.loads((HERE / "impossible.json").read_text())


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(port: int, process: subprocess.Popen, what: str):
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{what} does not listen")


class Servers:
    """The fixture server and the proxy in front of it; fresh for each run, because scenarios change the server."""

    def __init__(self, agentgateway: str, mode: str):
        self.fixture_port, self.port = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+")
        self.fixture = subprocess.Popen(
            [sys.executable, HERE / "fixture.py", str(self.fixture_port), mode], stdout=self.log, stderr=self.log
        )
        target = {"name": "fixture", "mcp": {"host": "127.0.0.1", "port": self.fixture_port, "path": "/mcp"}}
        # A proxy is told by its routes whose requests it takes: that of the suite's URL, and no other Host.
        route = {"hostnames": ["localhost"], "backends": [{"mcp": {"targets": [target]}}]}
        config = {"binds": [{"port": self.port, "listeners": [{"routes": [route]}]}]}
        path = pathlib.Path(self.folder.name) / "config.yaml"
        path.write_text(json.dumps(config))
        own = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        arguments = ["-f", path, "--admin-addr", own[0], "--metrics-addr", own[1], "--readiness-addr", own[2]]
        try:
            self.proxy = subprocess.Popen([agentgateway, *arguments], stdout=self.log, stderr=self.log)
        except OSError:
            self.fixture.kill()
            raise
        try:
            wait(self.fixture_port, self.fixture, "the fixture server")
            wait(self.port, self.proxy, "the proxy")
        except RuntimeError:
            self.log.seek(0)
            print(self.log.read())
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.proxy, self.fixture):
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.log.close()
        self.folder.cleanup()


def run(suite: str, port: int) -> dict[str, dict[str, str]]:
    """Check statuses by scenario."""
    command, arguments = SUITES[suite]
    with tempfile.TemporaryDirectory() as folder:
        # "localhost" and not the address: the suite's check of the Host header compares with it.
        url = f"http://localhost:{port}/mcp"
        done = subprocess.run(
            [*map(str, command), "--url", url, "-o", folder, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
        )  # fmt: skip
        found: dict[str, dict[str, str]] = collections.defaultdict(dict)
        for file in sorted(pathlib.Path(folder).glob("**/checks.json")):
            name = re.sub(r"^server-", "", re.sub(r"-\d{4}-\d\d-\d\dT.*$", "", file.parent.name))
            for check in json.loads(file.read_text()):
                key, status = check["id"], check["status"]
                if found[name].get(key) != "FAILURE":
                    found[name][key] = status
        if not found:
            sys.exit(f"the suite ran nothing:\n{done.stdout[-3000:]}")
    return found


def counts(checks: dict[str, dict[str, str]]) -> tuple[int, int]:
    all_statuses = [status for scenario in checks.values() for status in scenario.values()]
    return all_statuses.count("SUCCESS"), all_statuses.count("FAILURE")


def failures(checks) -> set[tuple[str, str]]:
    return {(scenario, key) for scenario, all_checks in checks.items() for key, status in all_checks.items() if status == "FAILURE"}


def passes(checks) -> set[tuple[str, str]]:
    return {(scenario, key) for scenario, all_checks in checks.items() for key, status in all_checks.items() if status == "SUCCESS"}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("agentgateway")
    parser.add_argument("--short", action="store_true", help="the two newest versions, without the crossed runs")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    os.environ["PATH"] = f"{TOOLS / '.bin'}:{os.environ['PATH']}"
    suites = ["2025-11-25", "2026-07-28"] if options.short else list(SUITES)
    report, bad = [], 0
    for suite in suites:
        with Servers(options.agentgateway, "both") as servers:
            direct = run(suite, servers.fixture_port)
        with Servers(options.agentgateway, "both") as servers:
            through = run(suite, servers.port)
        worse = sorted(passes(direct) - passes(through))
        bad += len(worse)
        report.append({"suite": suite, "server": "both", "direct": counts(direct), "proxy": counts(through), "worse": worse})
        print(f"{suite}: directly {counts(direct)}, through the proxy {counts(through)}", flush=True)
        for scenario, check in worse:
            print(f"  WORSE {scenario}: {check} is {through.get(scenario, {}).get(check, 'missing')}")
    crossed = [] if options.short else [("2025-11-25", "modern"), ("2026-07-28", "legacy")]
    for suite, mode in crossed:
        with Servers(options.agentgateway, "both") as servers:
            reference = run(suite, servers.fixture_port)
        with Servers(options.agentgateway, mode) as servers:
            through = run(suite, servers.port)
        failed = sorted(failures(through) - failures(reference))
        unexpected = [(s, c) for s, c in failed if s not in IMPOSSIBLE[suite]]
        bad += len(unexpected)
        report.append({"suite": suite, "server": mode, "direct": None, "proxy": counts(through), "worse": failed})
        print(f"{suite} in front of a {mode} server: {counts(through)}", flush=True)
        for scenario, check in failed:
            print(f"  {'cannot be' if scenario in IMPOSSIBLE[suite] else 'UNEXPECTED'} {scenario}: {check}")
    if options.write:
        write(report)
    return 1 if bad else 0


def write(report):
    (ROOT / "conformance" / "reports").mkdir(exist_ok=True)
    (ROOT / "conformance" / "reports" / "mcp.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = [
        "# MCP conformance",
        "",
        "`make mcp-conformance` runs the official suite (`@modelcontextprotocol/conformance` 0.2.0-alpha.12, and 0.1.16) against a",
        "fixture server on the official Python SDK, directly and through the proxy, both kinds of protocol on one URL.",
        "Each number is of checks.",
        "",
        "| Suite | Server speaks | Directly | Through the proxy | Fails only through the proxy |",
        "| --- | --- | --- | --- | --- |",
    ]
    names = {"both": "both", "modern": "2026-07-28 only", "legacy": "up to 2025-11-25 only"}
    for entry in report:
        direct = f"{entry['direct'][0]} pass, {entry['direct'][1]} fail" if entry["direct"] else "–"
        worse = len(entry["worse"]) or "none"
        lines.append(f"| {entry['suite']} | {names[entry['server']]} | {direct} | {entry['proxy'][0]} pass, {entry['proxy'][1]} fail | {worse} |")
    lines += ["", "What fails directly is of extensions (`tasks`) that the fixture server does not have.", ""]
    for suite, scenarios in IMPOSSIBLE.items():
        other = "2026-07-28" if suite == "2025-11-25" else "2025-11-25"
        lines += [f"## A {suite} client in front of a server that speaks only {other}", "", "Cannot be translated:", ""]
        lines += [f"- `{scenario}`: {why}" for scenario, why in scenarios.items()]
        lines.append("")
    (ROOT / "docs" / "mcp").mkdir(exist_ok=True)
    (ROOT / "docs" / "mcp" / "conformance.md").write_text("\n".join(lines))


sys.exit(main())
