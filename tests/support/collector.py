"""An OpenTelemetry collector: it receives OTLP, and hands on what it received, as JSON, to a server of the test."""

import gzip
import http.server
import json
import pathlib
import socket
import subprocess
import threading

from . import paths
from .process import Process
from .wait import until

CONFIGURATION = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"{tls}}}
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  otlp_http:
    endpoint: "http://127.0.0.1:{sink}"
    encoding: json
    compression: none
    retry_on_failure: {{enabled: false}}
    sending_queue: {{enabled: false}}
service:
  telemetry:
    metrics: {{level: none}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_http]}}
    logs: {{receivers: [otlp], exporters: [otlp_http]}}
"""


class Collector(Process):
    """A running collector. `tls` are files with a certificate and its key, for gRPC."""

    def __init__(self, folder: pathlib.Path, ports, tls: tuple | None = None):
        self.grpc_port, self.http_port, self._sink_port = ports.free(), ports.free(), ports.free()
        self._spans, self._logs = [], []
        collector = self

        class Sink(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(json.loads(body))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self._sink = http.server.ThreadingHTTPServer(("127.0.0.1", self._sink_port), Sink)
        threading.Thread(target=self._sink.serve_forever, daemon=True).start()
        encrypted = f', tls: {{cert_file: "{tls[0]}", key_file: "{tls[1]}"}}' if tls else ""
        config = folder / "collector.yaml"
        text = CONFIGURATION.format(grpc=self.grpc_port, http=self.http_port, sink=self._sink_port, tls=encrypted)
        config.write_text(text)
        super().__init__([program(), "--config", f"file:{config}"], cwd=folder)
        until(self._listens, 30, "the collector")

    @property
    def grpc(self):
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http(self):
        return f"127.0.0.1:{self.http_port}"

    def close(self):
        super().close()
        self._sink.shutdown()
        self._sink.server_close()

    def _listens(self):
        assert self.running, "\n".join(self.err[-20:])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.grpc_port)) == 0

    def _take(self, message: dict):
        for resource in message.get("resourceSpans", []):
            about = attributes(resource["resource"])
            for scope in resource["scopeSpans"]:
                self._spans += [{**span, "resource": about, "attributes": attributes(span)} for span in scope["spans"]]
        for resource in message.get("resourceLogs", []):
            about = attributes(resource["resource"])
            for scope in resource["scopeLogs"]:
                self._logs += [{**log, "resource": about, "attributes": attributes(log)} for log in scope["logRecords"]]

    def spans(self, count: int = 1, **wanted) -> list[dict]:
        """Spans with these attributes, once there are so many."""
        return self._wait(lambda: self._spans, count, wanted)

    def logs(self, count: int = 1, **wanted) -> list[dict]:
        """The same of log records."""
        return self._wait(lambda: self._logs, count, wanted)

    @staticmethod
    def _wait(items, count, wanted):
        def found():
            fitting = [item for item in items() if all(item["attributes"].get(k) == v for k, v in wanted.items())]
            return fitting if len(fitting) >= count else None

        return until(found, 40, f"{count} items with {wanted}")


def attributes(item: dict) -> dict:
    """Attributes as plain values."""

    def value(v):
        if "intValue" in v:
            return int(v["intValue"])
        return next(iter(v.values()), None)

    return {a["key"]: value(a["value"]) for a in item.get("attributes", [])}


def program() -> pathlib.Path:
    built = paths.ROOT / "build" / "bin" / "otelcol"
    if not built.exists():
        subprocess.run([paths.TESTS / "otelcol" / "build.sh"], check=True, timeout=600)
    return built
