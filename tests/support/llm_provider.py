"""Stand-ins for LLM providers: they record what they are asked, and answer as a test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reply:
    """An answer: `pieces` are sent one by one; with `cut` the connection breaks after them, with `hold` it stays open."""

    def __init__(self, pieces, status=200, content_type="application/json", headers=(), cut=False, hold=None):
        self.pieces = [pieces] if isinstance(pieces, bytes) else list(pieces)
        self.status, self.content_type, self.headers, self.cut, self.hold = status, content_type, headers, cut, hold


def whole(value, status=200, **options) -> Reply:
    return Reply(json.dumps(value).encode(), status, **options)


def events(values, named=False, end=b"", **options) -> Reply:
    """Server-sent events; `named` after their type, as Anthropic and Responses do."""

    def event(value):
        name = f"event: {value['type']}\n" if named else ""
        return f"{name}data: {json.dumps(value)}\n\n".encode()

    pieces = [event(value) for value in values] + ([end] if end else [])
    return Reply(pieces, content_type="text/event-stream", **options)


class Provider:
    """Answers on loopback with what `answer(asked)` gives."""

    def __init__(self, answer):
        self.answer, self.seen = answer, []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                provider.seen.append(asked)
                reply = provider.answer(asked)
                self.send_response(reply.status)
                self.send_header("content-type", reply.content_type)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for piece in reply.pieces:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                if reply.hold:
                    reply.hold.wait(30)
                if reply.cut:
                    self.close_connection = True
                    return
                self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_DELETE = serve

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that goes away is no fault of the test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def last(self) -> Asked:
        return self.seen[-1]

    def close(self):
        """Connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()


def chat_completion(text="Hello!", model="gpt-4o", **message) -> dict:
    """A whole answer of OpenAI's Chat Completions."""
    message = {"role": "assistant", "content": text, "refusal": None, **message}
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


def chat_chunks(*texts, model="gpt-4o", usage=True) -> list[dict]:
    """The events of a streamed answer of the same."""

    def chunk(delta, finish=None, **more):
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": model, "choices": choices, **more}

    made = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": text}) for text in texts), chunk({}, "stop")]
    if usage:
        totals = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        made.append({**chunk({}), "choices": [], "usage": totals})
    return made


DONE = b"data: [DONE]\n\n"


def message(text="Hello!", model="claude-opus-4-1") -> dict:
    """A whole answer of Anthropic's Messages."""
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model,
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 3},
    }


def message_events(*texts, model="claude-opus-4-1") -> list[dict]:
    """The events of a streamed answer of the same."""
    start = {**message(model=model), "content": [], "stop_reason": None, "usage": {"input_tokens": 9, "output_tokens": 1}}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]


def generated(text="Hello!", finish="STOP") -> dict:
    """An answer of Gemini, or an element of its stream."""
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12},
        "modelVersion": "gemini-2.5-flash",
    }
