"""The proxy under test, run from a configuration given as data or as YAML text."""

import contextlib
import os
import pathlib
import re
import signal

import yaml

from . import paths
from .http1 import request
from .ports import Ports
from .process import Process
from .wait import until


class Proxy(Process):
    """A running proxy. `ports` are the ports of its binds, in order; `port` is the first."""

    def __init__(self, folder: pathlib.Path, ports: Ports, text: str | None, arguments=(), env=None, cwd=None, prefix=()):
        self.folder = folder
        self.admin, self.metrics_port, self.readiness = ports.free(), ports.free(), ports.free()
        self.config = folder / "agentgateway.yaml"
        source = []
        self.is_contained = "--pid" in prefix
        self._from_file = text is not None
        if text is not None:
            self.config.write_text(text)
            source = ["-f", self.config]
        addresses = [
            *("--admin-addr", f"127.0.0.1:{self.admin}"),
            *("--metrics-addr", f"127.0.0.1:{self.metrics_port}"),
            *("--readiness-addr", f"127.0.0.1:{self.readiness}"),
        ]
        environment = clean_environment()
        environment.update(env or {})
        super().__init__([*prefix, paths.agentgateway(), *source, *addresses, *arguments], cwd=cwd or folder, env=environment)

    @property
    def ports(self) -> list[int]:
        return [bind["port"] for bind in yaml.safe_load(self.config.read_text())["binds"]]

    @property
    def port(self) -> int:
        return self.ports[0]

    def wait_ready(self, timeout: float = 15.0):
        def ready():
            if not self.running:
                tail = "\n".join(self.err[-40:])
                raise AssertionError(f"the proxy ended with {self.wait()}:\n{tail}")
            return self.ready_status() == 200

        until(ready, timeout, "readiness")
        if self._from_file:
            # So that `reload` does not take the first configuration's line for its own.
            with contextlib.suppress(AssertionError):
                self.wait_for("configuration loaded", timeout=1)
        return self

    def ready_status(self) -> int:
        """Of the readiness probe; 0 while nobody listens."""
        try:
            return request(self.readiness, "/healthz/ready").status
        except OSError:
            return 0

    def get(self, path="/", method="GET", headers=(), body=None, port: int | None = None):
        return request(port or self.port, path, method, headers, body)

    def metrics(self) -> str:
        return request(self.metrics_port, "/metrics").text

    def metric(self, name: str, **labels) -> float:
        """The sum of all samples of this name that have these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            found = re.fullmatch(rf"{re.escape(name)}(\{{.*\}})? (\S+)(?: .*)?", line)
            if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
                total += float(found[2])
        return total

    def dump(self) -> dict:
        return request(self.admin, "/config_dump").json()

    def write(self, text: str):
        """Replaces the file as editors do: a new file and a rename."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.config)

    def reload(self, text: str):
        """Replaces the file, and waits until the proxy runs with it."""
        seen = len(self.err)
        self.write(text)
        self.wait_for("configuration loaded", since=seen)

    def access_lines(self, pattern: str, count: int = 1, timeout: float = 5.0) -> list[str]:
        """The lines of the access log that the pattern is found in, once there are so many."""

        def found():
            lines = [line for line in self.out if re.search(pattern, line)]
            return lines if len(lines) >= count else None

        return until(found, timeout, f"{count} lines with {pattern!r} in {self.out[-20:]}")

    def terminate(self):
        self.signal(signal.SIGTERM)


def clean_environment() -> dict[str, str]:
    """Without what would configure the proxy from outside of the test."""
    ours = ("XDS_", "ADMIN_", "METRICS_", "READINESS_", "ALLOW_", "SNAPSHOT_", "DRAIN_", "LOG_")
    names = ("NAMESPACE", "GATEWAY", "POD_NAME", "WORKERS", "ACCESS_LOG", "RUST_LOG")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours) and k not in names}


def document(binds: list[dict], config: dict | None = None) -> str:
    """YAML of a configuration; binds without an address get loopback."""
    binds = [{"address": "127.0.0.1", **bind} for bind in binds]
    whole = {"config": {"workers": 2, **(config or {})}, "binds": binds}
    return yaml.safe_dump(whole, sort_keys=False)


def routes(port: int, *all_routes: dict, policies: dict | None = None, config: dict | None = None) -> str:
    """YAML of one listener with these routes."""
    listener = {"routes": list(all_routes)}
    if policies:
        listener["policies"] = policies
    return document([{"port": port, "listeners": [listener]}], config)


def to(*backends, **route) -> dict:
    """A route to backends, given as objects with an address, texts, or dicts."""
    shares = []
    for backend in backends:
        if isinstance(backend, dict):
            shares.append(backend)
        else:
            shares.append({"host": backend if isinstance(backend, str) else backend.address})
    return {**route, "backends": shares} if shares else route
