"""The stand-in for vLLM (tests/model-server): some servers in one process."""

import json
import os
import pathlib
import re

from . import paths
from .http1 import Client, request
from .process import Process
from .wait import until


class ModelServers(Process):
    """`ports` are those of the servers, in order. Options are the program's flags."""

    def __init__(self, pods: int, port: int = 0, **options):
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        super().__init__([binary(), f"--port={port}", f"--pods={pods}", *flags])
        self.wait_for("^ready$", lines=self.out)
        self.ports = [int(line.rsplit(":", 1)[1]) for line in self.out if re.fullmatch(r"[0-9.]+:\d+", line)]
        assert len(self.ports) == pods

    @property
    def hosts(self) -> list[dict]:
        return [{"host": "127.0.0.1", "port": port} for port in self.ports]

    def fake(self, at: int, **what):
        """What server number `at` does and shows instead of the truth."""
        answer = request(self.ports[at], "/admin/config", "POST", body=json.dumps(what).encode())
        assert answer.status == 200, answer.text

    def value(self, at: int, name: str) -> float:
        text = request(self.ports[at], "/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{"))


def binary() -> pathlib.Path:
    if told := os.environ.get("MODEL_SERVER_BIN"):
        return pathlib.Path(told)
    beside = paths.agentgateway().parent / "model-server"
    return beside if beside.exists() else paths._program("MODEL_SERVER_BIN", "model-server")


def chat(port: int, text: str, model="base", headers=(), timeout=15.0, **options):
    """One chat completion; `served_by` of the result is the port of the server."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 2, **options})
    sent = [("content-type", "application/json"), ("content-length", str(len(body.encode()))), *dict(headers).items()]
    with Client(port, timeout=timeout) as client:
        response = client.request("/v1/chat/completions", "POST", sent, body.encode())
    response.served_by = int(response.header("x-inference-port") or 0)
    return response


def fresh(proxy, count: int):
    """Waits until the proxy has read the metrics of so many servers."""
    until(lambda: proxy.metric("agentgateway_inference_endpoints", metrics="fresh") >= count, 10, "metrics are read")
