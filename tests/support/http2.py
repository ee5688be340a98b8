"""HTTP/2, frame by frame."""

import socket
import time

import h2.config
import h2.connection
import h2.events
import h2.settings


class Http2:
    """A client connection. `events` are all events so far. With `context` over TLS, asking for `name`. Without `validates` it
    sends heads that no client should."""

    def __init__(self, port: int, timeout: float = 10.0, context=None, name=None, validates=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._scheme = "http"
        if context:
            self.socket, self._scheme = context.wrap_socket(self.socket, server_hostname=name), "https"
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=validates))
        self.connection.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.closed = False
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def send(self, path="/", method="GET", headers=(), body=None, authority="any.test") -> int:
        """Sends a request and gives its stream."""
        stream = self.connection.get_next_available_stream_id()
        head = [(":method", method), (":scheme", self._scheme), (":authority", authority), (":path", path), *headers]
        self.connection.send_headers(stream, head, end_stream=body is None)
        if body is not None:
            self.connection.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def pump(self, timeout: float = 10.0):
        """Reads once."""
        self.socket.settimeout(timeout)
        data = self.socket.recv(1 << 16)
        if not data:
            self.closed = True
            return
        for event in self.connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.events.append(event)
        self.flush()

    def wait(self, kind, stream=None, timeout: float = 10.0):
        """The first event of this kind (of this stream), once it is there."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                    return event
            assert not self.closed, f"closed without {kind.__name__}: {self.events}"
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind.__name__}: {self.events}"
            self.pump(left)

    def response(self, stream: int) -> tuple[int, dict[str, str], bytes]:
        self.wait(h2.events.StreamEnded, stream)
        head = self.wait(h2.events.ResponseReceived, stream)
        headers = dict(head.headers)
        body = b"".join(e.data for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)
        return int(headers.pop(":status")), headers, body

    def request(self, *arguments, **options) -> tuple[int, dict[str, str], bytes]:
        return self.response(self.send(*arguments, **options))
