"""A small HTTP API, as a program: `http_api.py PORT`. What it takes and gives is in `tests/data/orders.openapi.json`."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

ORDERS = {"1": {"id": "1", "item": "lamp", "status": "open"}, "a/b": {"id": "a/b", "item": "desk", "status": "sent"}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if value is not None:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def order(self):
        parts = urlsplit(self.path).path.split("/")
        return unquote(parts[3]) if parts[:3] == ["", "v1", "orders"] and len(parts) == 4 else None

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/v1/orders":
            query = parse_qs(url.query)
            wanted = query.get("status")
            found = [o for o in ORDERS.values() if not wanted or o["status"] in wanted]
            return self.answer(200, {"orders": found, "query": query})
        if url.path == "/v1/seen":
            return self.answer(200, {name.lower(): value for name, value in self.headers.items()})
        found = ORDERS.get(self.order())
        self.answer(*((200, found) if found else (404, {"detail": f"no order {self.order()}"})))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "item" not in body:
            return self.answer(422, {"detail": "an order needs an item"})
        self.answer(201, {"id": "2", "status": "open", **body})

    def do_DELETE(self):
        self.answer(204 if self.order() in ORDERS else 404)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
