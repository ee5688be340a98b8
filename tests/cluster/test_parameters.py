"""GatewayParameters on a cluster: what the API server refuses, and what becomes of the objects of a Gateway."""

import json
import socket

import pytest
from testcluster import NAMESPACE, CommandFailed, wait_for

PARAMETERS = "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {name: p, namespace: web}\nspec: "
NAME = "sized"
GATEWAY = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {NAME}, namespace: web}}
spec:
  gatewayClassName: agentgateway
  infrastructure:
    labels: {{team: a}}
    annotations: {{cost: low}}
    parametersRef: {{group: gateway.kgateway.dev, kind: GatewayParameters, name: p}}
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
"""
HANDLES = ["serviceaccount", "deployment", "service"]


@pytest.fixture(scope="module")
def web(installed):
    installed.restricted_namespace("web")
    return installed


def expect(cluster, what, check, seconds=60):
    """Waits until `check`, given the object of this kind, is true."""
    return wait_for(f"{what}", lambda: check(cluster.get(what, NAME, "-n", "web")), seconds)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("{kube: {podTemplate: {volumes: [{name: v}]}}}", "unknown field"),
        ("{kube: {podTemplate: {serviceAccountName: admin}}}", "unknown field"),
        ("{kube: {podTemplate: {hostNetwork: true}}}", "unknown field"),
        ("{kube: {podTemplate: {imagePullSecrets: [{name: s}]}}}", "unknown field"),
        ("{kube: {agentgateway: {securityContext: {privileged: true}}}}", "unknown field"),
        ("{kube: {agentgateway: {env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}}}", "unknown field"),
        ("{kube: {agentgateway: {env: [{name: ADMIN_ADDR, value: '0.0.0.0:15000'}]}}}", "a setting of the proxy itself"),
        ("{kube: {podTemplate: {priorityClassName: system-node-critical}}}", "priority classes of the system"),
        ("{kube: {service: {type: ExternalName}}}", "Unsupported value"),
        ("{kube: {service: {type: ClusterIP, externalTrafficPolicy: Local}}}", "are for the types NodePort"),
        ("{kube: {daemonSet: {}, deployment: {replicas: 2}}}", "one proxy a node"),
        ("{kube: {deployment: {replicas: 2}, horizontalPodAutoscaler: {maxReplicas: 3}}}", "which sets it"),
        ("{kube: {horizontalPodAutoscaler: {minReplicas: 3, maxReplicas: 2}}}", "not be more than maxReplicas"),
        ("{kube: {podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}}", "exactly one of"),
        ("{kube: {agentgateway: {resources: {limits: {cpu: much}}}}}", "should match"),
        ("{kube: {agentgateway: {image: {digest: latest}}}}", "should match"),
        ("{proxyProtocol: Sometimes}", "Unsupported value"),
    ],
)
def test_the_api_server_refuses_what_may_not_be_said(web, spec, message):
    with pytest.raises(CommandFailed) as refused:
        # Strict, as clients are by default; whatever is unknown is dropped otherwise.
        web.kubectl("apply", "--validate=strict", "--server-side", "-f", "-", stdin=PARAMETERS + spec)
    assert message in str(refused.value)


def test_a_gateway_waits_for_its_parameters(web):
    web.apply(GATEWAY)
    wait_for("the condition", lambda: web.condition("gateway", "web", NAME, "Accepted").get("reason") == "InvalidParameters")
    web.apply(PARAMETERS + "{kube: {deployment: {replicas: 2}, agentgateway: {resources: {requests: {cpu: 20m}}}}}")
    web.programmed("web", NAME)
    assert web.condition("gateway", "web", NAME, "Accepted")["status"] == "True"
    header, row = web.kubectl("get", "gwp", "p", "-n", "web").splitlines()
    assert header.split() == ["NAME", "REPLICAS", "SERVICE", "AGE"]
    assert row.split()[:2] == ["p", "2"]
    deployment = web.get("deployment", NAME, "-n", "web")
    assert deployment["status"]["readyReplicas"] == 2
    pod = deployment["spec"]["template"]
    assert pod["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "20m"}}
    for meta in [pod["metadata"], *(web.get(kind, NAME, "-n", "web")["metadata"] for kind in HANDLES)]:
        assert meta["labels"]["team"] == "a" and meta["annotations"]["cost"] == "low"


def test_objects_follow_their_parameters(web):
    web.apply(
        PARAMETERS
        + """
  kube:
    agentgateway: {resources: {requests: {cpu: 20m}}, env: [{name: GREETING, value: hello}], logLevel: debug}
    podTemplate: {terminationGracePeriodSeconds: 10, extraLabels: {app: proxy}}
    service: {type: NodePort, ports: [{port: 80, nodePort: 30080}], extraAnnotations: {note: mine}}
    horizontalPodAutoscaler: {minReplicas: 1, maxReplicas: 2}
    podDisruptionBudget: {maxUnavailable: 1}
"""
    )
    expect(web, "horizontalpodautoscaler", lambda o: o["spec"]["maxReplicas"] == 2)
    expect(web, "poddisruptionbudget", lambda o: o["spec"]["maxUnavailable"] == 1)
    service = expect(web, "service", lambda o: o["spec"]["type"] == "NodePort" and o)
    assert service["spec"]["ports"][0]["nodePort"] == 30080 and service["metadata"]["annotations"]["note"] == "mine"
    # The Gateway's address is the Service's own then.
    wait_for(
        "the address",
        lambda: web.get("gateway", NAME, "-n", "web")["status"]["addresses"]
        == [{"type": "IPAddress", "value": service["spec"]["clusterIP"]}],
    )
    template = expect(web, "deployment", lambda o: o["spec"]["template"])
    environment = {e["name"]: e.get("value") for e in template["spec"]["containers"][0]["env"]}
    assert (environment["GREETING"], environment["LOG_LEVEL"], environment["DRAIN_TIMEOUT"]) == ("hello", "debug", "5")
    web.programmed("web", NAME)


def test_a_daemon_set_takes_the_deployments_place_and_gives_it_back(web):
    web.apply(PARAMETERS + "{kube: {daemonSet: {}, agentgateway: {resources: {requests: {cpu: 20m}}}}}")
    expect(web, "daemonset", lambda o: o["status"].get("numberReady") == 1)
    gone = "deployments,horizontalpodautoscalers,poddisruptionbudgets"
    wait_for("the others gone", lambda: not web.get(gone, "-n", "web")["items"])
    wait_for("the load balancer", lambda: web.get("service", NAME, "-n", "web")["spec"]["type"] == "LoadBalancer")
    web.apply(PARAMETERS + "{kube: {agentgateway: {resources: {requests: {cpu: 20m}}}}}")
    web.programmed("web", NAME)
    wait_for("the set gone", lambda: not web.get("daemonsets", "-n", "web")["items"])


def test_the_classes_parameters_are_below_the_gateways(web):
    """The class says two replicas and how the Service is; the Gateway's own say one replica."""
    of_class = PARAMETERS.replace("name: p, namespace: web", f"name: common, namespace: {NAMESPACE}")
    web.apply(of_class + "{kube: {deployment: {replicas: 2}, service: {extraLabels: {from: class}}}}")
    reference = {"group": "gateway.kgateway.dev", "kind": "GatewayParameters", "name": "common", "namespace": NAMESPACE}
    patch = [{"op": "add", "path": "/spec/parametersRef", "value": reference}]
    web.kubectl("patch", "gatewayclass", "agentgateway", "--type=json", "-p", json.dumps(patch))
    try:
        web.apply(PARAMETERS + "{kube: {deployment: {replicas: 1}}}")
        expect(web, "service", lambda o: o["metadata"]["labels"].get("from") == "class")
        expect(web, "deployment", lambda o: o["spec"]["replicas"] == 1)
    finally:
        web.kubectl("patch", "gatewayclass", "agentgateway", "--type=json", "-p", '[{"op":"remove","path":"/spec/parametersRef"}]')
        web.kubectl("-n", NAMESPACE, "delete", "gatewayparameters", "common")


def status_line(address, head):
    with socket.create_connection((address, 80), timeout=5) as connection:
        connection.sendall(head + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return connection.makefile("rb").readline()


def test_the_proxy_protocol_is_asked_for(web):
    web.apply(PARAMETERS + "{proxyProtocol: Required}")
    address = web.programmed("web", NAME)
    header = b"PROXY TCP4 192.0.2.9 192.0.2.10 1234 80\r\n"

    def asked():
        try:
            without = status_line(address, b"")
        except ConnectionError:
            without = b""
        return without == b"" and status_line(address, header).startswith(b"HTTP/1.1 404")

    wait_for("the header needed", asked)


def test_nothing_is_left_of_a_deleted_gateway(web):
    web.kubectl("-n", "web", "delete", "gateway", NAME)
    kinds = "deployments,daemonsets,services,serviceaccounts,horizontalpodautoscalers,poddisruptionbudgets,configmaps"
    ours = "app.kubernetes.io/managed-by=agentgateway"
    wait_for("nothing left", lambda: not web.get(kinds, "-n", "web", "-l", ours)["items"], 60)
