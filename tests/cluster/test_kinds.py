"""A cluster whose kinds come and go, and one where the control plane may look at a namespace alone."""

import os
import urllib.request

import pytest
from testcluster import BUILD, CONTROLPLANE, NAMESPACE, Cluster, CommandFailed, wait_for

STANDARD = BUILD / "crds" / "standard"
IMAGES = ["agentgateway", "agentgateway-controlplane", "echo-basic"]
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{CONTROLPLANE}"
APPLICATION = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: agentgateway
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: web}]
  rules:
  - backendRefs: [{name: echo, port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
      - name: server
        image: testcluster.local/echo-basic:1
        readinessProbe: {tcpSocket: {port: 3000}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{port: 80, targetPort: 3000}]
"""


@pytest.fixture(scope="module")
def bare():
    """A cluster without the Gateway API."""
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root")
    cluster = Cluster(f"kinds-{os.getpid()}")
    try:
        cluster.up(images=IMAGES, channel=None)
        yield cluster
    finally:
        cluster.down()


def file_of(kind):
    return STANDARD / f"gateway.networking.k8s.io_{kind}.yaml"


def answers(address):
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        return answer.status == 200


def serves(cluster, namespace):
    address = cluster.programmed(namespace, "web")
    wait_for("an answer", lambda: answers(address))
    return address


def deploy(cluster, namespace):
    cluster.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}")
    cluster.kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=APPLICATION)


def log_of(cluster):
    return cluster.kubectl("-n", NAMESPACE, "logs", f"deployment/{CONTROLPLANE}", "--tail=-1")


def test_without_the_gateway_api_it_is_ready_and_waits(bare):
    bare.install("gatewayClass.create=false")
    assert "the cluster does not have this kind" in log_of(bare)


def test_kinds_are_used_when_they_come(bare):
    for kind in ("gatewayclasses", "gateways", "httproutes", "referencegrants"):
        bare.apply(file_of(kind))
    # The control plane makes the class that nobody made.
    wait_for("the class", lambda: bare.condition("gatewayclass", "", "agentgateway", "Accepted")["status"] == "True")
    deploy(bare, "a")
    serves(bare, "a")
    for crd in sorted(STANDARD.glob("*.yaml")):
        bare.apply(crd)
    wait_for("the last kind", lambda: log_of(bare).count("the cluster has this kind now") >= 10)


def test_a_kind_that_goes_takes_nothing_with_it(bare):
    address = bare.programmed("a", "web")
    bare.kubectl("delete", "-f", file_of("udproutes"))
    # Once at the start, and now again.
    wait_for("it noticed", lambda: log_of(bare).count('"definition":"udproutes.gateway.networking.k8s.io"') == 2)
    assert answers(address)
    bare.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{CONTROLPLANE}")
    bare.rollout(NAMESPACE, CONTROLPLANE)
    assert answers(address)
    bare.apply(file_of("udproutes"))


def test_named_namespaces_are_looked_at_alone(bare):
    deploy(bare, "b")
    serves(bare, "b")
    bare.install("gatewayClass.create=false", "watchNamespaces={a}")
    bare.kubectl("-n", "b", "delete", "gateway", "web")
    deploy(bare, "b")
    deploy(bare, "c")
    serves(bare, "a")

    # A change in the one is followed, whatever the others do.
    bare.kubectl("-n", "a", "delete", "httproute", "web")
    address = bare.programmed("a", "web")

    def gone():
        try:
            return answers(address) and None
        except OSError as error:
            return "404" in str(error)

    wait_for("the route gone", gone)
    deploy(bare, "a")
    serves(bare, "a")
    for namespace in ("b", "c"):
        gateway = bare.get("gateway", "web", "-n", namespace)
        reasons = {condition["reason"] for condition in gateway["status"]["conditions"]}
        assert reasons == {"Pending"}, gateway["status"]
        # Kubernetes takes its time to remove what the Gateway of before had.
        deployed = ("deployment", "-n", namespace, "-l", "app.kubernetes.io/managed-by=agentgateway")
        wait_for("nothing deployed there", lambda deployed=deployed: not bare.get(*deployed)["items"], seconds=120)


@pytest.mark.parametrize("words", [("get", "secrets"), ("list", "gateways"), ("patch", "deployments.apps")])
def test_rights_are_those_of_the_named_namespaces(bare, words):
    def may(namespace):
        try:
            return bare.kubectl("auth", "can-i", *words, "-n", namespace, "--as", ACCOUNT).strip() == "yes"
        except CommandFailed:
            return False

    assert may("a")
    assert not may("b")
