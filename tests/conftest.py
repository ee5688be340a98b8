"""Fixtures that all tests use; what they make ends with the test."""

import contextlib
import os

import pytest

from support.certificates import Authority
from support.echo import Backend, Loop
from support.ports import Ports
from support.proxy import Proxy, routes
from support.streams import StreamServer


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: it makes namespaces"))


@pytest.fixture(scope="session")
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def ports():
    ports = Ports()
    yield ports
    ports.close()


@pytest.fixture
def backend(loop, ports):
    """Makes echo backends; named, so that an answer tells who gave it."""
    made = []

    def make(name="backend", port=None, host="127.0.0.1", context=None) -> Backend:
        made.append(Backend(loop, name, port or ports.free(), host, context))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def stream_server(ports):
    """Makes servers of plain bytes."""
    made = []

    def make(name="stream", **options) -> StreamServer:
        made.append(StreamServer(name, options.pop("port", None) or ports.free(), **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def start(tmp_path, ports):
    """Starts proxies from YAML text and waits until they are ready."""
    with contextlib.ExitStack() as stack:
        count = 0

        def make(text, *arguments, ready=True, **options) -> Proxy:
            nonlocal count
            folder = tmp_path / f"proxy{count}"
            folder.mkdir()
            count += 1
            proxy = Proxy(folder, ports, text, arguments, **options)
            stack.callback(finish, proxy)
            return proxy.wait_ready() if ready else proxy

        yield make


def finish(proxy: Proxy):
    # `unshare --pid` takes no signals; what is inside ends with it.
    proxy.close(timeout=0 if proxy.is_contained else 10)
    panics = [line for line in proxy.err if "panicked" in line]
    assert not panics, panics


@pytest.fixture
def gateway(start, ports):
    """Starts a proxy with one listener that has these routes."""

    def make(*all_routes, policies=None, config=None, arguments=(), **options) -> Proxy:
        return start(routes(ports.free(), *all_routes, policies=policies, config=config), *arguments, **options)

    return make


@pytest.fixture
def named(tmp_path):
    """Runs a proxy with names of its own: /etc/hosts is another file for it and for nobody else."""

    def prefix(**names):
        hosts = tmp_path / "hosts"
        lines = [f"{address} {name}.test" for name, addresses in names.items() for address in addresses]
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{line}\n" for line in lines))
        script = f'mount --bind {hosts} /etc/hosts && exec "$0" "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    return prefix
