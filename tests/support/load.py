"""Steady load from threads: every answer is kept, and what fails is an exception like any other."""

import collections
import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .http1 import Client, request


class Load:
    """Sends requests until stopped: `kept` threads on one connection each, `fresh` threads with a connection a request.

    A kept connection that was told `Connection: close` is opened anew, as clients do. `answers` counts by what `of` makes of
    a response; `failures` are exceptions and statuses other than 200.
    """

    def __init__(self, port: int, path="/", kept=2, fresh=2, of=lambda response: response.json()["backend"], pause=0.002):
        self.port, self.path, self.of, self.pause = port, path, of, pause
        self.answers: collections.Counter = collections.Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._kept, daemon=True) for _ in range(kept)]
        self._threads += [threading.Thread(target=self._fresh, daemon=True) for _ in range(fresh)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def wait_for(self, count: int, timeout: float = 15.0):
        """Until so many more answers have come."""
        goal = sum(self.answers.values()) + count
        deadline = time.monotonic() + timeout
        while sum(self.answers.values()) < goal and not self.failures:
            assert time.monotonic() < deadline, f"{self.answers} {self.failures[:5]}"
            time.sleep(0.005)

    def _note(self, response):
        if response.status == 200:
            self.answers[self.of(response)] += 1
        else:
            self.failures.append(f"{response.status} {response.text}")

    def _fresh(self):
        while not self._stop.wait(self.pause):
            try:
                self._note(request(self.port, self.path))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"new connection: {error!r}")

    def _kept(self):
        client = Client(self.port)
        while not self._stop.wait(self.pause):
            try:
                response = client.request(self.path)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"kept connection: {error!r}")
                client.close()
                client = Client(self.port)
                continue
            self._note(response)
            if response.header("connection") == "close":
                client.close()
                client = Client(self.port)
        client.close()


def crowd(port, each, connections=64, headers=(), path="/"):
    """So many connections, all at once, send so many requests each; gives the statuses."""
    start = threading.Barrier(connections)

    def run(_):
        with Client(port) as client:
            start.wait(20)
            return [client.request(path, headers=headers).status for _ in range(each)]

    with ThreadPoolExecutor(connections) as pool:
        return collections.Counter(status for found in pool.map(run, range(connections)) for status in found)
