"""HTTP/1.1 clients: one that is convenient, and one that sends exactly the bytes it is told."""

import http.client
import json as jsonlib
import socket
from dataclasses import dataclass, field


@dataclass
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def json(self):
        return jsonlib.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One kept connection. `headers` is a mapping or a list of pairs; nothing is added to what is given but Host.

    With `context` over TLS, asking for `name`; `first` is sent before everything else."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = 15.0, context=None, name=None, first=b""):
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        if context or first:
            self._connection.connect()
            self._connection.sock.sendall(first)
        if context:
            plain = self._connection.sock
            try:
                self._connection.sock = context.wrap_socket(plain, server_hostname=name)
            except BaseException:
                plain.close()
                raise

    @property
    def socket(self) -> socket.socket:
        return self._connection.sock

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._connection.close()

    def start(self, path="/", method="GET", headers=(), body=None) -> http.client.HTTPResponse:
        """Sends, and gives the response once its head is there."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        named = {name.lower() for name, _ in pairs}
        connection = self._connection
        connection.putrequest(method, path, skip_host="host" in named, skip_accept_encoding=True)
        for name, value in pairs:
            connection.putheader(name, value)
        if body is not None and not named & {"content-length", "transfer-encoding"}:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders()
        if body is not None:
            connection.send(body)
        return connection.getresponse()

    def request(self, path="/", method="GET", headers=(), body=None) -> Response:
        answer = self.start(path, method, headers, body)
        return Response(answer.status, answer.getheaders(), answer.read())


def request(port: int, path="/", method="GET", headers=(), body=None, timeout: float = 15.0) -> Response:
    """One request on a connection of its own."""
    with Client(port, timeout=timeout) as client:
        return client.request(path, method, headers, body)


class Raw:
    """A socket for bytes as they are."""

    def __init__(self, port: int, timeout: float = 10.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes | str):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def read_head(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case; repeated ones joined by comma) and the head as it came."""
        while b"\r\n\r\n" not in self._buffer:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(f"closed after {self._buffer!r}")
            self._buffer += more
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, value = line.split(":", 1)
            name = name.lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        return int(first.split(" ")[1]), headers, head

    def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(f"closed after {self._buffer!r}")
            self._buffer += more
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def read_response(self) -> Response:
        status, headers, _ = self.read_head()
        body = self.read(int(headers.get("content-length", 0)))
        return Response(status, list(headers.items()), body)

    def read_to_end(self) -> bytes:
        """All until the other side closes; a reset counts as closed."""
        data, self._buffer = self._buffer, b""
        try:
            while more := self.socket.recv(65536):
                data += more
        except ConnectionResetError:
            pass
        return data
