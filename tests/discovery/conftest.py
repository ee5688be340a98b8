"""Both programs together: a control plane on a folder of manifests, and proxies that it programs."""

import contextlib

import pytest
import yaml

from support import paths
from support.http1 import request
from support.process import Process
from support.proxy import Proxy, clean_environment
from support.wait import until

NAMESPACE, NAME = "default", "edge"


class ControlPlane(Process):
    """A control plane on a folder. `apply` writes objects, one file a name; `delete` removes a file."""

    def __init__(self, folder, ports, address=None):
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir(exist_ok=True)
        self.token_file = folder / "xds-token"
        self.port, self.health, self.metrics_port = address or ports.free(), ports.free(), ports.free()
        command = [
            paths.controlplane(),
            *("--manifests", self.manifests),
            *("--token-file", self.token_file),
            *("--xds-address", f"127.0.0.1:{self.port}"),
            *("--health-address", f"127.0.0.1:{self.health}"),
            *("--metrics-address", f"127.0.0.1:{self.metrics_port}"),
        ]
        super().__init__(command, cwd=folder, env=clean_environment())

    def wait_ready(self):
        def ready():
            assert self.running, "\n".join(self.err[-20:])
            with contextlib.suppress(OSError):
                return request(self.health, "/readyz").status == 200

        until(ready, what="the control plane to be ready")
        return self

    def apply(self, name, *objects):
        """Replaces the file as a whole, so that no half of it is read."""
        fresh = self.manifests / f".{name}.tmp"
        fresh.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        fresh.replace(self.manifests / f"{name}.yaml")

    def delete(self, name):
        (self.manifests / f"{name}.yaml").unlink()

    def wait_printed(self, pattern, **options):
        """Statuses are printed."""
        return self.wait_for(pattern, lines=self.out, **options)


@pytest.fixture
def controlplane(tmp_path, ports):
    with contextlib.ExitStack() as stack:

        def make(address=None) -> ControlPlane:
            plane = ControlPlane(tmp_path, ports, address)
            stack.callback(plane.close)
            return plane

        yield make


@pytest.fixture
def plane(controlplane):
    return controlplane().wait_ready()


@pytest.fixture
def proxies(tmp_path, ports):
    """Starts proxies of the gateway."""
    with contextlib.ExitStack() as stack:
        count = 0

        def make(plane, *arguments, ready=True, gateway=NAME, namespace=NAMESPACE, token=None, snapshot=None) -> Proxy:
            nonlocal count
            folder = tmp_path / f"proxy{count}"
            folder.mkdir()
            count += 1
            discovery = [
                *("--xds-address", f"http://127.0.0.1:{plane.port}"),
                *("--xds-token", token or plane.token_file),
                *("--namespace", namespace, "--gateway", gateway),
                *("--allow-loopback-backends", "true", "--drain-timeout", "1", "--workers", "2"),
                *(["--snapshot-file", snapshot] if snapshot else []),
            ]
            proxy = Proxy(folder, ports, None, [*discovery, *arguments])
            stack.callback(proxy.close)
            return proxy.wait_ready() if ready else proxy

        yield make


def gateway(port, name=NAME, listeners=None) -> dict:
    listeners = listeners or [{"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}]
    return obj("gateway.networking.k8s.io/v1", "Gateway", name, {"gatewayClassName": "agentgateway", "listeners": listeners})


def obj(version, kind, name, spec, namespace=NAMESPACE) -> dict:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def static(name, *addresses, **fields) -> dict:
    """A Backend of hosts."""
    hosts = [{"host": host, "port": int(port)} for host, port in (a.rsplit(":", 1) for a in addresses)]
    return obj("gateway.kgateway.dev/v1alpha1", "Backend", name, {"type": "Static", "static": {"hosts": hosts, **fields}})


def backend_ref(name, **fields) -> dict:
    return {"group": "gateway.kgateway.dev", "kind": "Backend", "name": name, **fields}


def route(name, *rules, gateway=NAME, **fields) -> dict:
    return obj("gateway.networking.k8s.io/v1", "HTTPRoute", name, {"parentRefs": [{"name": gateway}], "rules": list(rules), **fields})


def rule(backend, **fields) -> dict:
    return {"backendRefs": [backend_ref(backend)], **fields}


def policy(name, kind, target, group="gateway.networking.k8s.io", **fields) -> dict:
    reference = {"group": group, "kind": kind, "name": target}
    return obj("gateway.kgateway.dev/v1alpha1", "TrafficPolicy", name, {"targetRefs": [reference], **fields})
