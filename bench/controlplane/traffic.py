"""Requests through the Gateway's address: one at a time until a route answers, or at a constant rate beside a test."""

import collections
import http.client
import socket
import threading
import time

PAUSE_SECONDS = 0.0005
GIVE_UP_SECONDS = 30


def connect(address, port=80):
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def connect_tls(address, host, context):
    """HTTPS on port 443 of the address, with the host as the server name."""
    connection = http.client.HTTPConnection(address, 443, timeout=10)
    connection.connect()
    connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
    return connection


def ask(connection, host, path="/"):
    connection.request("GET", path, headers={"Host": host})
    response = connection.getresponse()
    response.read()
    return response.status


def until(connection, host, wanted=200, path="/"):
    """Asks without pause until the answer is `wanted`; gives the time, and other answers but 404 with their number."""
    unexpected = collections.Counter()
    end = time.perf_counter() + GIVE_UP_SECONDS
    while time.perf_counter() < end:
        status = ask(connection, host, path)
        if status == wanted:
            return time.perf_counter(), unexpected
        if status != 404:
            unexpected[status] += 1
        time.sleep(PAUSE_SECONDS)
    raise TimeoutError(f"{host}{path} does not answer {wanted} after {GIVE_UP_SECONDS} s")


class Constant:
    """Requests at a constant rate in a thread: half on kept connections, half on new ones."""

    def __init__(self, address, hosts, rate=200, port=80):
        self.address, self.hosts, self.rate, self.port = address, hosts, rate, port
        self.statuses = collections.Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _run(self):
        kept = connect(self.address, self.port)
        due, n = time.perf_counter(), 0
        while not self._stop.is_set():
            host = self.hosts[n % len(self.hosts)]
            try:
                if n % 2:
                    self.statuses[ask(kept, host)] += 1
                else:
                    fresh = connect(self.address, self.port)
                    self.statuses[ask(fresh, host)] += 1
                    fresh.close()
            except (OSError, http.client.HTTPException) as error:
                self.statuses[type(error).__name__] += 1
                kept = connect(self.address, self.port)
            n += 1
            due += 1 / self.rate
            time.sleep(max(0.0, due - time.perf_counter()))

    def failed(self):
        return sum(count for status, count in self.statuses.items() if status != 200)
