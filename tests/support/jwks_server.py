"""An issuer that publishes its keys."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class JwksServer:
    """Serves `keys` at `/jwks`; with a `status` other than 200 its answers are errors. `asked` counts requests."""

    def __init__(self, port: int, *keys, context=None):
        self.port, self.keys, self.status, self.asked, self.body = port, list(keys), 200, 0, None
        self.scheme = "https" if context else "http"
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                served.asked += 1
                body = served.body or json.dumps({"keys": [key.jwk for key in served.keys]}).encode()
                self.send_response(served.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://localhost:{self.port}/jwks"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
