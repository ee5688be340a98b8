"""What is generated from charts and types is up to date, and what the control plane may do is exactly this."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBE = ROOT / "build" / "bin" / "kube"

needs_kube = pytest.mark.skipif(
    not KUBE.exists(), reason="rendering charts needs build/bin/kube (make test-cluster builds it)"
)

GATEWAY, OWN = "gateway.networking.k8s.io", "gateway.kgateway.dev"
READ, DEPLOYS = "list watch", "create delete get list patch watch"
ROUTES = ["httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes"]
WITH_STATUS = ["gateways", "listenersets", *ROUTES, "backendtlspolicies"]
# In the whole cluster, however few namespaces are looked at.
CLUSTER = {
    (GATEWAY, "gatewayclasses"): "create list watch",
    (GATEWAY, "gatewayclasses/status"): "patch",
    ("", "namespaces"): READ,
    ("apiextensions.k8s.io", "customresourcedefinitions"): READ,
    ("authentication.k8s.io", "tokenreviews"): "create",
}
# In each namespace that is looked at.
EACH_NAMESPACE = {
    **{(GATEWAY, kind): READ for kind in [*WITH_STATUS, "referencegrants"]},
    **{(GATEWAY, f"{kind}/status"): "patch" for kind in WITH_STATUS},
    (OWN, "backends"): READ,
    (OWN, "trafficpolicies"): READ,
    (OWN, "gatewayextensions"): READ,
    (OWN, "directresponses"): READ,
    (OWN, "gatewayparameters"): READ,
    (OWN, "backends/status"): "patch",
    (OWN, "trafficpolicies/status"): "patch",
    (OWN, "gatewayextensions/status"): "patch",
    ("discovery.k8s.io", "endpointslices"): READ,
    ("inference.networking.k8s.io", "inferencepools"): READ,
    ("inference.networking.k8s.io", "inferencepools/status"): "patch",
    ("", "pods"): READ,
    ("", "secrets"): "get list watch",
    ("", "services"): DEPLOYS,
    ("", "serviceaccounts"): DEPLOYS,
    ("", "configmaps"): DEPLOYS,
    ("apps", "deployments"): DEPLOYS,
    ("apps", "daemonsets"): DEPLOYS,
    ("autoscaling", "horizontalpodautoscalers"): DEPLOYS,
    ("policy", "poddisruptionbudgets"): DEPLOYS,
    ("events.k8s.io", "events"): "create patch",
}
# In its own namespace.
OWN_NAMESPACE = {
    ("", "secrets", "agentgateway-xds-ca"): "get list update watch",
    ("coordination.k8s.io", "leases", "agentgateway-controlplane"): "get update",
    ("", "configmaps"): "create delete list patch watch",
}
NAME, SYSTEM = "agentgateway-controlplane", "kgateway-system"


def objects():
    return [o for o in yaml.safe_load_all((DEPLOY / "manifests" / "agentgateway.yaml").read_text()) if o]


def table(role):
    """(group, resource and, where given, name) to sorted verbs; a pair that is named twice is an error."""
    found = {}
    for rule in role["rules"]:
        assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [None]):
                    key = (group, resource, name) if name else (group, resource)
                    assert key not in found, f"{key} twice"
                    found[key] = " ".join(sorted(rule["verbs"]))
    return found


def rendered(*values):
    flags = [word for value in values for word in ("--set", value)]
    command = [KUBE, "helm", "template", "agentgateway", DEPLOY / "charts" / "agentgateway", "--namespace", SYSTEM]
    text = subprocess.run([*command, *flags], check=True, capture_output=True, text=True).stdout
    return [o for o in yaml.safe_load_all(text) if o]


def roles(manifests):
    """(kind, namespace, name) of each role to its table; each must be bound to the control plane's account alone."""
    found, bound = {}, set()
    for manifest in manifests:
        meta = manifest["metadata"]
        key = (manifest["kind"].removesuffix("Binding"), meta.get("namespace"), meta["name"])
        if manifest["kind"] in ("ClusterRole", "Role"):
            found[key] = table(manifest)
        elif manifest["kind"] in ("ClusterRoleBinding", "RoleBinding"):
            assert manifest["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM}]
            assert (manifest["roleRef"]["kind"], manifest["roleRef"]["name"]) == (key[0], key[2])
            bound.add(key)
    assert set(found) == bound
    return found


def test_the_control_plane_may_do_this_and_nothing_else():
    assert roles(objects()) == {
        ("ClusterRole", None, f"{NAME}-{SYSTEM}"): {**CLUSTER, **EACH_NAMESPACE},
        ("Role", SYSTEM, NAME): OWN_NAMESPACE,
    }


@needs_kube
def test_where_namespaces_are_named_it_may_do_it_in_these_alone():
    manifests = rendered("watchNamespaces={a,b}")
    assert roles(manifests) == {
        ("ClusterRole", None, f"{NAME}-{SYSTEM}"): CLUSTER,
        ("Role", "a", f"{NAME}-{SYSTEM}"): EACH_NAMESPACE,
        ("Role", "b", f"{NAME}-{SYSTEM}"): EACH_NAMESPACE,
        ("Role", SYSTEM, NAME): OWN_NAMESPACE,
    }
    deployment = next(o for o in manifests if o["kind"] == "Deployment")
    assert "--watch-namespaces=a,b" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


@needs_kube
def test_the_class_may_name_parameters():
    manifests = rendered("gatewayClass.parametersRef.name=p", "gatewayClass.parametersRef.namespace=infra")
    (gateway_class,) = [o for o in manifests if o["kind"] == "GatewayClass"]
    expected = {"group": OWN, "kind": "GatewayParameters", "name": "p", "namespace": "infra"}
    assert gateway_class["spec"]["parametersRef"] == expected


def test_the_chart_has_the_generated_crds():
    generated = {path.name: path.read_text() for path in (ROOT / "crds" / "generated").glob("*.yaml")}
    chart = {path.name: path.read_text() for path in (DEPLOY / "charts" / "agentgateway-crds" / "files").iterdir()}
    assert generated and chart == generated, "run `make manifests`"


@needs_kube
def test_the_plain_manifests_are_those_of_the_charts(tmp_path):
    subprocess.run([DEPLOY / "manifests.sh", tmp_path], check=True)
    for committed in sorted((DEPLOY / "manifests").iterdir()):
        assert (tmp_path / committed.name).read_text() == committed.read_text(), "run `make manifests`"


def test_parameters_cannot_set_what_the_proxy_takes_from_its_environment():
    told = subprocess.run([os.environ["AGENTGATEWAY_BIN"], "--help"], check=True, capture_output=True, text=True).stdout
    settings = set(re.findall(r"\[env: ([A-Z_]+)", told))
    assert len(settings) > 10
    crd = yaml.safe_load((ROOT / "crds" / "generated" / "gateway.kgateway.dev_gatewayparameters.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    container = spec["properties"]["kube"]["properties"]["agentgateway"]
    (rule,) = container["properties"]["env"]["items"]["x-kubernetes-validations"]
    assert settings - set(re.findall(r"'([A-Z_]+)'", rule["rule"])) == set()


def test_versions_agree():
    cargo = next(line for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = "))
    version = cargo.split('"')[1]
    for chart in ("agentgateway", "agentgateway-crds"):
        about = yaml.safe_load((DEPLOY / "charts" / chart / "Chart.yaml").read_text())
        assert (about["version"], about["appVersion"]) == (version, version)
