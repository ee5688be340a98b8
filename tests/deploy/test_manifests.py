"""What is generated from charts and types is up to date, and what the control plane may do is exactly this."""

import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBE = ROOT / "build" / "bin" / "kube"

GATEWAY, OWN = "gateway.networking.k8s.io", "gateway.kgateway.dev"
READ, DEPLOYS = "list watch", "create delete get list patch watch"
CLUSTER = {
    (GATEWAY, "gatewayclasses"): "create list watch",
    (GATEWAY, "gateways"): READ,
    (GATEWAY, "httproutes"): READ,
    (GATEWAY, "referencegrants"): READ,
    (GATEWAY, "gatewayclasses/status"): "patch",
    (GATEWAY, "gateways/status"): "patch",
    (GATEWAY, "httproutes/status"): "patch",
    (OWN, "backends"): READ,
    (OWN, "trafficpolicies"): READ,
    (OWN, "backends/status"): "patch",
    (OWN, "trafficpolicies/status"): "patch",
    ("", "namespaces"): READ,
    ("discovery.k8s.io", "endpointslices"): READ,
    ("", "services"): DEPLOYS,
    ("", "serviceaccounts"): DEPLOYS,
    ("", "configmaps"): DEPLOYS,
    ("apps", "deployments"): DEPLOYS,
    ("authentication.k8s.io", "tokenreviews"): "create",
    ("events.k8s.io", "events"): "create patch",
}
# In its own namespace, each for one object by its name.
NAMESPACED = {
    ("", "secrets", "agentgateway-xds-ca"): "get list update watch",
    ("coordination.k8s.io", "leases", "agentgateway-controlplane"): "get update",
}


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


def test_the_control_plane_may_do_this_and_nothing_else():
    roles = [o for o in objects() if o["kind"] in ("ClusterRole", "Role")]
    assert sorted(role["kind"] for role in roles) == ["ClusterRole", "Role"]
    for role in roles:
        assert table(role) == (CLUSTER if role["kind"] == "ClusterRole" else NAMESPACED)
    bindings = [o for o in objects() if o["kind"] in ("ClusterRoleBinding", "RoleBinding")]
    assert len(bindings) == 2
    for binding in bindings:
        assert [s["name"] for s in binding["subjects"]] == ["agentgateway-controlplane"]


def test_the_chart_has_the_generated_crds():
    generated = {path.name: path.read_text() for path in (ROOT / "crds" / "generated").glob("*.yaml")}
    chart = {path.name: path.read_text() for path in (DEPLOY / "charts" / "agentgateway-crds" / "files").iterdir()}
    assert generated and chart == generated, "run `make manifests`"


@pytest.mark.skipif(not KUBE.exists(), reason="rendering charts needs build/bin/kube (make test-cluster builds it)")
def test_the_plain_manifests_are_those_of_the_charts(tmp_path):
    subprocess.run([DEPLOY / "manifests.sh", tmp_path], check=True)
    for committed in sorted((DEPLOY / "manifests").iterdir()):
        assert (tmp_path / committed.name).read_text() == committed.read_text(), "run `make manifests`"


def test_versions_agree():
    cargo = next(line for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = "))
    version = cargo.split('"')[1]
    for chart in ("agentgateway", "agentgateway-crds"):
        about = yaml.safe_load((DEPLOY / "charts" / chart / "Chart.yaml").read_text())
        assert (about["version"], about["appVersion"]) == (version, version)
