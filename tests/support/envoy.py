"""A processor and an authorization service on Envoy's own messages, told by a script how to answer (tests/ratelimit)."""

import base64
import json
import subprocess

from . import paths
from .http1 import request
from .process import Process
from .wait import until

OK, UNAVAILABLE = 0, 14


class EnvoyServices(Process):
    """Serves both at `address`. `script` says how a processor's messages and checks are answered; `calls` and `checks` are what
    was asked since then, as JSON of the messages."""

    def __init__(self, ports):
        self.port, self._control = ports.free(), ports.free()
        super().__init__([program(), self.address, f"127.0.0.1:{self._control}"])
        until(self._answers, 20, "the services")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def script(self, check=None, **process):
        """`process` is by message, such as `request_headers`: a step, or a list of steps."""
        steps = {name: step if isinstance(step, list) else [step] for name, step in process.items()}
        body = json.dumps({"process": steps, "check": check}).encode()
        assert request(self._control, "/", "PUT", [], body).status == 200

    @property
    def calls(self) -> list[dict]:
        return self._state()["calls"] or []

    @property
    def checks(self) -> list[dict]:
        return self._state()["checks"] or []

    def ended(self, number: int = 1) -> list[dict]:
        """The calls, once so many have ended."""

        def done():
            calls = [call for call in self.calls if call["end"]]
            return calls if len(calls) >= number else None

        return until(done, 10, f"{number} calls that have ended")

    def _state(self):
        return request(self._control, "/").json()

    def _answers(self):
        assert self.running, "\n".join(self.err[-20:])
        try:
            return request(self._control, "/").status == 200
        except OSError:
            return False


def program():
    built = paths.ROOT / "build" / "bin" / "envoy-services"
    if not built.exists():
        subprocess.run([paths.TESTS / "ratelimit" / "build.sh"], check=True, timeout=300)
    return built


def kinds(call: dict) -> list[str]:
    """What was asked, in order: `request_headers` and so on; pieces of one body are one."""
    found = []
    for message in call["messages"] or []:
        kind = next(name for name in message if name.startswith(("request_", "response_")))
        if not (found and found[-1] == kind and kind.endswith("_body")):
            found.append(kind)
    return found


def messages(call: dict, kind: str) -> list[dict]:
    return [message[kind] for message in call["messages"] or [] if kind in message]


def headers(call: dict, kind: str = "request_headers") -> dict[str, str]:
    lines = messages(call, kind)[0]["trailers" if kind.endswith("trailers") else "headers"]["headers"]
    return {line["key"]: unpacked(line.get("raw_value", "")).decode() for line in lines}


def body(call: dict, kind: str) -> bytes:
    return b"".join(unpacked(message.get("body", "")) for message in messages(call, kind))


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unpacked(text: str) -> bytes:
    return base64.b64decode(text)


def option(name: str, value: str, **more) -> dict:
    return {"header": {"key": name, "raw_value": packed(value.encode())}, **more}


def about(kind: str, common: dict | None = None, **fields) -> dict:
    """The step that sends a ProcessingResponse about this kind of message."""
    inner = {"header_mutation": common} if kind.endswith("trailers") else {"response": common or {}}
    return {"send": {kind: inner, **fields}}


def immediate(status: int, body: bytes = b"", **fields) -> dict:
    return {"send": {"immediate_response": {"status": {"code": status}, "body": packed(body), **fields}}}
