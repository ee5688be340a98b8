"""What every test starts from: a cluster with the charts, a backend beside it, a namespace with a Gateway."""

import contextlib
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "deploy"))

from testcluster import Cluster, CommandFailed  # noqa: E402

from . import objects, programs  # noqa: E402
from .api import Api, Refused  # noqa: E402

# The test clusters' bridge; pods reach what listens there (conformance/README.md).
BRIDGE = "172.30.0.1"
BACKEND_PORTS = (18080, 18081)
NAMESPACE, GATEWAY, SERVICE = "bench", "bench", "backend"


class Bench:
    """A cluster, and what the tests share."""

    def __init__(self, name):
        self.cluster = Cluster(name)
        self.api = Api(self.cluster.kubeconfig)
        self._begin = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self._begin:7.1f} s  {text}", flush=True)

    @contextlib.contextmanager
    def namespaces(self, *names):
        for name in names:
            self.api.replace(objects.namespace(name))
        try:
            yield
        finally:
            self.say(f"deleting {len(names)} namespaces")
            for name in names:
                self.api.delete(objects.namespace(name))
            self._until_gone(names)

    def _until_gone(self, names, seconds=900):
        end = time.monotonic() + seconds
        left = set(names)
        while left and time.monotonic() < end:
            for name in sorted(left):
                try:
                    self.api.get(f"/api/v1/namespaces/{name}")
                except Refused:
                    left.discard(name)
            time.sleep(0.5)
        if left:
            raise TimeoutError(f"namespaces {sorted(left)} are still there after {seconds} s")

    @contextlib.contextmanager
    def gateway(self, listeners=None, **spec):
        """A Gateway with a Service behind which nginx answers on two ports; gives the Gateway's address."""
        with tempfile.TemporaryDirectory() as folder, self.namespaces(NAMESPACE):
            backend = programs.Backend(folder, BRIDGE, BACKEND_PORTS)
            try:
                self.service(NAMESPACE)
                self.api.replace(objects.gateway(NAMESPACE, GATEWAY, listeners, **spec))
                address = self.cluster.programmed(NAMESPACE, GATEWAY)
                self.say(f"Gateway at {address}")
                yield address
            finally:
                backend.stop()

    def service(self, namespace, name=SERVICE):
        """Port 80 and port 81 of the Service are the two ports of the backend."""
        self.api.replace(objects.service(namespace, name, 80, 81))
        targets = dict(zip((80, 81), BACKEND_PORTS, strict=True))
        self.api.replace(objects.endpoints(namespace, name, targets, [BRIDGE]))

    def proxy(self, namespace=NAMESPACE, gateway=GATEWAY):
        return self._program(programs.PROXY, namespace, f"gateway.networking.k8s.io/gateway-name={gateway}")

    def controlplane(self):
        return self._program(programs.CONTROLPLANE, "kgateway-system", "app.kubernetes.io/component=controlplane")

    def _program(self, program, namespace, selector):
        pods = self.cluster.get("pods", "-n", namespace, "-l", selector)["items"]
        running = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
        return programs.find(program, running[0]["metadata"]["uid"])


__all__ = ["BRIDGE", "Bench", "CommandFailed", "GATEWAY", "NAMESPACE", "SERVICE"]
