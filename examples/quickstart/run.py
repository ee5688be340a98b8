#!/usr/bin/env python3
"""Starts a control plane on this folder, a proxy that it programs, and two servers behind them, all on loopback.

    run.py PROGRAMS MODULES PYTHON [--check]

PROGRAMS is the folder of agentgateway and agentgateway-controlplane, MODULES the node_modules with the MCP server, PYTHON
an interpreter with the `mcp` package. With --check it runs the printed commands itself, expects of them what is printed,
and ends. Otherwise it ends with Ctrl-C. Everything that it starts ends with it.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GATEWAY, MCP_SERVER, FILE_SERVER = 8080, 3001, 3002
PORTS = {
    "XDS": 9978, "control plane health": 9093, "control plane metrics": 9092,
    "proxy admin": 15000, "proxy metrics": 15020, "proxy readiness": 15021,
    "gateway": GATEWAY, "MCP server": MCP_SERVER, "file server": FILE_SERVER,
}  # fmt: skip
PATIENCE_SECONDS = 60
STOP_SECONDS = 10
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "quickstart", "version": "1"}},
}


class Stack:
    """The processes, in the order of their start, with a log file each."""

    def __init__(self, logs):
        self.logs = logs
        self.processes = {}
        self.began = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.began:5.1f} s  {text}", flush=True)

    def start(self, name, *command, **environment):
        log = open(self.logs / f"{name}.log", "wb")
        environment = {**os.environ, **environment}
        # A session of its own: Ctrl-C reaches this program alone, which then ends them in order.
        self.processes[name] = subprocess.Popen(
            [str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd=ROOT,
        )  # fmt: skip
        self.say(f"{name} started (pid {self.processes[name].pid})")

    def check_alive(self):
        for name, process in self.processes.items():
            if process.poll() is not None:
                text = (self.logs / f"{name}.log").read_text(errors="replace")
                sys.exit(f"{name} ended with {process.returncode}:\n{text[-2000:]}")

    def wait_for(self, what, check):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not check():
            self.check_alive()
            if time.monotonic() > deadline:
                sys.exit(f"{what}: not within {PATIENCE_SECONDS} s; the logs are in {self.logs}")
            time.sleep(0.05)
        self.say(what)

    def stop(self):
        for name, process in reversed(self.processes.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGINT if name == "proxy" else signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def taken(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return False
        except OSError:
            return True


def post_initialize(port):
    """Status of an MCP initialize, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        connection.request("POST", "/mcp", json.dumps(INITIALIZE), headers)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def commands(python):
    """What to try, in order: what it shows, the command, and what one sees then."""
    client = f"{python} examples/quickstart/client.py http://localhost:{GATEWAY}/mcp"
    policy = "examples/quickstart/two-tools.yaml"
    return [
        ("the tools of the MCP server, and a call", f"{client} echo message=hello", ["get-sum", "echo: Echo: hello"]),
        ("a plain HTTP server behind the same listener", f"curl -s http://localhost:{GATEWAY}/files/mcp.yaml", ["kind: HTTPRoute"]),
        (
            "a policy that leaves two tools, live in a moment",
            f"cp examples/quickstart/more/two-tools.yaml {policy}; sleep 1; {client} get-sum a=2 b=40",
            ["tools: echo get-sum\n", "42"],
        ),
        ("and all tools again", f"rm {policy}; sleep 1; {client} echo message=again", ["get-env", "again"]),
        ("what the proxy runs on", "curl -s http://localhost:15000/config_dump", ['"default/everything"']),
    ]


def start(stack, programs, modules):
    state = stack.logs
    server = modules / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    stack.start("mcp-server", "node", server, "streamableHttp", PORT=str(MCP_SERVER))
    stack.start(
        "file-server", sys.executable, "-m", "http.server", FILE_SERVER, "--bind", "127.0.0.1", "--directory", HERE
    )
    token = state / "xds-token"
    controlplane = programs / "agentgateway-controlplane"
    stack.start("control-plane", controlplane, "--manifests", HERE.relative_to(ROOT), "--token-file", token)
    stack.wait_for("the control plane has read the folder", token.exists)
    stack.start(
        "proxy", programs / "agentgateway", XDS_ADDRESS="http://127.0.0.1:9978", XDS_TOKEN=str(token), NAMESPACE="default",
        GATEWAY="quickstart", READINESS_ADDR="127.0.0.1:15021", METRICS_ADDR="127.0.0.1:15020",
    )  # fmt: skip
    stack.wait_for("the MCP server listens", lambda: taken(MCP_SERVER))
    stack.wait_for(f"an MCP session through the proxy works: http://localhost:{GATEWAY}/mcp", lambda: post_initialize(GATEWAY) == 200)


def show(python, logs):
    print(f"\nTry it in another terminal, in {ROOT}:\n")
    for what, command, seen in commands(python):
        print(f"  # {what}; you will see: {' ... '.join(text.strip() for text in seen)}\n  {command}\n")
    print(f"The configuration is examples/quickstart; change a file and it is live. Logs: {logs}/*.log\nCtrl-C ends it all.", flush=True)


def check(stack, python):
    for what, command, seen in commands(python):
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, "NO_PROXY": "*"})
        missing = [text for text in seen if text not in done.stdout]
        if done.returncode != 0 or missing:
            sys.exit(f"{command}\nexit {done.returncode}, without {missing} in:\n{done.stdout}{done.stderr}\nlogs: {stack.logs}")
        stack.say(f"as printed: {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("modules", type=Path)
    parser.add_argument("python")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    busy = [f"{port} ({what})" for what, port in PORTS.items() if taken(port)]
    if busy:
        sys.exit(f"these ports of 127.0.0.1 are taken: {', '.join(busy)}")
    if not shutil.which("node"):
        sys.exit("node is missing (Debian: nodejs)")
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), lambda *_: sys.exit(1))
    logs = Path(tempfile.mkdtemp(prefix="agentgateway-quickstart-"))
    stack = Stack(logs)
    try:
        start(stack, options.programs.resolve(), options.modules.resolve())
        if options.check:
            check(stack, options.python)
        else:
            show(options.python, logs)
            while True:
                stack.check_alive()
                time.sleep(0.5)
    except KeyboardInterrupt:
        print()
    finally:
        stack.stop()
        (HERE / "two-tools.yaml").unlink(missing_ok=True)
    shutil.rmtree(logs)


if __name__ == "__main__":
    main()
