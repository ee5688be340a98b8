"""Fixtures: one cluster for the run, the charts installed in it, and what tests do with both."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "deploy"), str(Path(__file__).parent)]

from testcluster import KUBE, NAMESPACE, Cluster, wait_for  # noqa: E402

# The cluster's addresses are on this machine; nothing of it goes through a proxy.
os.environ["NO_PROXY"] = "*"


@pytest.fixture(scope="session")
def cluster():
    """A cluster with the Gateway API and all images, and nothing of ours yet. AGENTGATEWAY_CLUSTER names one to keep."""
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root")
    kept = os.environ.get("AGENTGATEWAY_CLUSTER")
    cluster = Cluster(kept or f"test-{os.getpid()}")
    try:
        cluster.up()
        yield cluster
    finally:
        if not kept:
            cluster.down()


@pytest.fixture(scope="module")
def installed(cluster):
    """The cluster with the charts installed; everything is removed after the module's tests."""
    try:
        cluster.install()
        yield cluster
    finally:
        remove(cluster)


def remove(cluster):
    """Removes the Gateways and routes of tests, then the charts."""
    kinds = "gateways,httproutes,backends.gateway.kgateway.dev,trafficpolicies"
    subprocess.run(
        [KUBE, "kubectl", "--kubeconfig", cluster.kubeconfig, "delete", kinds, "--all", "-A"], capture_output=True
    )
    for namespace in ("mcp", "web"):
        cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout", "90s")
    labels = "gateway.networking.k8s.io/gateway-name"
    wait_for("no proxies left", lambda: not cluster.get("deployments,services,pods", "-A", "-l", labels)["items"], 90)
    cluster.uninstall()


def left(cluster):
    """Names of what is in the cluster of an installation, beyond what every namespace has."""
    kinds = "deployments,services,pods,serviceaccounts,configmaps,secrets,leases,roles,rolebindings,poddisruptionbudgets"
    items = cluster.get(kinds, "-n", NAMESPACE)["items"]
    names = {f"{item['kind']}/{item['metadata']['name']}" for item in items}
    names -= {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
    everywhere = cluster.get("clusterroles,clusterrolebindings,gatewayclasses,crds")["items"]
    names |= {f"{item['kind']}/{item['metadata']['name']}" for item in everywhere if "gateway" in item["metadata"]["name"]}
    return sorted(name for name in names if not name.endswith(".gateway.networking.k8s.io"))


@pytest.fixture
def forward(cluster):
    """Forwards a local port to a port of a Deployment's pod, as a user would; gives the local port."""
    running = []

    def start(namespace, deployment, port):
        words = [KUBE, "kubectl", "--kubeconfig", cluster.kubeconfig, "-n", namespace, "port-forward"]
        process = subprocess.Popen(
            [*words, "--address", "127.0.0.1", f"deployment/{deployment}", f":{port}"], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        line = process.stdout.readline()
        assert line.startswith("Forwarding from 127.0.0.1:"), line
        return int(line.split(":")[1].split()[0])

    yield start
    for process in running:
        process.terminate()
        process.wait()


@pytest.fixture
def controlplane_log(cluster):
    """What the control plane has written so far."""
    return lambda: cluster.kubectl("-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/component=controlplane", "--tail=-1")
