"""Servers and clients of plain bytes: TCP, TLS and UDP."""

import contextlib
import socket
import ssl
import threading


class StreamServer:
    """Answers each connection with its name, then with every byte in capitals. `heard` is what it got, by connection.

    With `context` it speaks TLS; `names` are the server names that clients asked for."""

    def __init__(self, name: str, port: int, host: str = "127.0.0.1", context: ssl.SSLContext | None = None):
        self.name, self.port, self.host = name, port, host
        self.heard: list[bytearray] = []
        self.names: list[str | None] = []
        self.certificates: list[dict | None] = []
        self._context = context
        if context:
            context.sni_callback = lambda _socket, server_name, _context: self.names.append(server_name)
        self._open: set[socket.socket] = set()
        self._listener = None
        self.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self):
        self._listener = socket.create_server((self.host, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        if self._listener:
            # Closing alone does not wake the thread that accepts.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            number = len(self.heard)
            self.heard.append(bytearray())
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        with contextlib.suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self.certificates.append(connection.getpeercert())
            connection.sendall(f"{self.name}\n".encode())
            while data := connection.recv(1 << 16):
                self.heard[number] += data
                connection.sendall(data.upper())
            connection.sendall(b"end\n")
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class Stream:
    """A client's connection; with `context` over TLS, asking for `name`."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, name: str | None = None, first=b"", timeout: float = 10.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.sendall(first)
        self._buffer = b""
        if context:
            try:
                self.socket = context.wrap_socket(self.socket, server_hostname=name)
            except BaseException:
                self.socket.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes):
        self.socket.sendall(data)

    def line(self) -> str:
        while b"\n" not in self._buffer:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError(f"closed after {self._buffer!r}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def ask(self, text: str) -> str:
        self.send(f"{text}\n".encode())
        return self.line()

    def rest(self) -> bytes:
        """All until the other side closes; a reset counts as closed."""
        data, self._buffer = self._buffer, b""
        with contextlib.suppress(ConnectionResetError):
            while more := self.socket.recv(1 << 16):
                data += more
        return data


class DatagramServer:
    """Answers each datagram with its name and the datagram. `clients` are the addresses that it was asked from."""

    def __init__(self, name: str, port: int = 0, host: str = "127.0.0.1"):
        self.name, self.host = name, host
        self.clients: list[tuple] = []
        self._socket = None
        self.port = port
        self.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, self.port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def stop(self):
        own, self._socket = self._socket, None
        if own:
            # Says that it is not connected, and wakes the thread that receives nevertheless.
            with contextlib.suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)
            own.close()

    def _serve(self, own):
        while True:
            try:
                data, client = own.recvfrom(1 << 16)
            except OSError:
                return
            if self._socket is not own:
                return
            self.clients.append(client)
            with contextlib.suppress(OSError):
                own.sendto(self.name.encode() + b" " + data, client)


class Datagrams:
    """A client's socket."""

    def __init__(self, port: int, timeout: float = 5.0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, text: str):
        self.socket.send(text.encode())

    def receive(self) -> str:
        return self.socket.recv(1 << 16).decode()

    def ask(self, text: str) -> str:
        self.send(text)
        return self.receive()
