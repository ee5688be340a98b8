"""How connections spread over the workers."""

import os
import re

import pytest

from support.http1 import Client
from support.http2 import Http2
from support.proxy import to


def worker_ticks(proxy) -> dict[str, int]:
    """CPU time of each worker thread, in clock ticks."""
    ticks = {}
    for task in os.listdir(f"/proc/{proxy.pid}/task"):
        with open(f"/proc/{proxy.pid}/task/{task}/stat") as stat:
            name, rest = re.fullmatch(r"\d+ \((.*)\) (.*)", stat.read().strip()).groups()
        if name.startswith("worker-"):
            fields = rest.split()
            ticks[name] = int(fields[11]) + int(fields[12])
    return ticks


def test_as_many_workers_as_configured(gateway, backend):
    assert len(worker_ticks(gateway(to(backend()), config={"workers": 3}))) == 3


@pytest.mark.parametrize("connect", [Client, Http2], ids=["HTTP/1.1", "HTTP/2"])
def test_eight_long_connections_are_spread_over_two_workers(gateway, backend, connect):
    """Each worker keeps connections of its own to the backend: with four requests at once on each of two workers, the
    idle connections that are left tell nothing, but CPU time does."""
    proxy = gateway(to(backend()), config={"workers": 2, "accessLog": False})
    clients = [connect(proxy.port) for _ in range(8)]
    for client in clients:
        client.request("/")
    before = worker_ticks(proxy)
    for _ in range(400):
        for client in clients:
            client.request("/")
    after = worker_ticks(proxy)
    spent = sorted(after[name] - before[name] for name in after)
    for client in clients:
        (client if connect is Client else client.socket).close()
    # Four connections each: the same work, measured in ticks of 10 ms.
    assert spent[0] > 0.5 * spent[1], spent
