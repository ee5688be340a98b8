"""The charts on a real API server: what they install, what the CRDs refuse, what is left afterwards."""

import json

import pytest
from conftest import left
from testcluster import CHARTS, CONTROLPLANE, NAMESPACE, ROOT, CommandFailed, wait_for

GATEWAY = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: front, namespace: {NAMESPACE}}}
spec:
  gatewayClassName: agentgateway
  listeners: [{{name: http, port: 80, protocol: HTTP}}, {{name: other, port: 8080, protocol: HTTP}}]
"""
BACKEND = "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: Backend\nmetadata: {name: b, namespace: default}\nspec: "
POLICY = "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: p, namespace: default}\nspec: "
TARGET = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}]"
RBAC = "rbac: {policy: {matchExpressions: ['true']}}"


@pytest.mark.parametrize("name", ["backends", "trafficpolicies"])
def test_the_api_server_takes_the_crds(installed, name):
    crd = installed.get("crd", f"{name}.gateway.kgateway.dev")
    conditions = {c["type"]: c for c in crd["status"]["conditions"]}
    assert conditions["Established"]["status"] == "True"
    assert conditions["NamesAccepted"]["status"] == "True"
    assert "NonStructuralSchema" not in conditions
    assert crd["spec"]["names"]["categories"] == ["kgateway"]
    assert "FIELDS" in installed.kubectl("explain", f"{name}.gateway.kgateway.dev.spec")


def test_a_backend_has_its_short_name_and_columns(installed):
    installed.apply(BACKEND + "{type: Static, static: {hosts: [{host: h, port: 1}]}}")
    header, row = installed.kubectl("get", "be", "b", "-n", "default").splitlines()
    assert header.split() == ["NAME", "TYPE", "ACCEPTED", "AGE"]
    assert row.split()[:2] == ["b", "Static"]
    installed.kubectl("delete", "be", "b", "-n", "default")


@pytest.mark.parametrize(
    "manifest, message",
    [
        (BACKEND + "{type: MCP}", "mcp must be set"),
        (BACKEND + "{type: Static, static: {hosts: [{host: h, port: 0}]}}", "should be greater than or equal to 1"),
        (BACKEND + "{type: MCP, mcp: {targets: []}}", "should have at least 1 items"),
        (BACKEND + "{type: Static, static: {hosts: [{host: h, port: 1}]}, unknown: 1}", "unknown"),
        (BACKEND + "{type: Carrier}", "Unsupported value"),
        (POLICY + f"{{{TARGET}}}", "at least one policy must be set"),
        (POLICY + f"{{{TARGET}, autoHostRewrite: true}}", "autoHostRewrite is for HTTPRoutes"),
        (POLICY + f"{{{TARGET}, csrf: {{additionalOrigins: [{{}}]}}}}", "exactly one of exact, prefix, suffix, contains and safeRegex must be set"),
        (POLICY + f"{{{TARGET}, buffer: {{maxRequestSize: 1Ti}}}}", "spec.buffer.maxRequestSize in body should match"),
        (POLICY + f"{{{TARGET}, transformation: {{}}}}", "at least one of request and response must be set"),
        (POLICY + f"{{{TARGET}, jwtAuth: {{issuer: a}}}}", "either issuer and jwks must be set, or providers alone"),
        (POLICY + f"{{targetRefs: [{{group: '', kind: Secret, name: s}}], {RBAC}}}", "must be a Gateway"),
        (
            POLICY + f"{{{TARGET}, rateLimit: {{local: {{tokenBucket: {{maxTokens: 1, fillInterval: 0s}}}}}}}}",
            "fillInterval must be more than 0",
        ),
    ],
)
def test_the_crds_refuse_what_cannot_work(installed, manifest, message):
    with pytest.raises(CommandFailed) as refused:
        installed.apply(manifest)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "manifest",
    [
        BACKEND + "{type: MCP, mcp: {targets: [{name: t, static: {host: h, port: 1}}]}}",
        BACKEND + "{type: Static, static: {hosts: [{host: h, port: 1}]}}",
        POLICY + f"{{{TARGET}, {RBAC}}}",
        POLICY + f"{{{TARGET}, buffer: {{maxRequestSize: 65536}}}}",
        POLICY + f"{{{TARGET}, buffer: {{maxRequestSize: 64Ki}}}}",
        # Without targets it is for filters that name it.
        POLICY + f"{{{RBAC}}}",
    ],
)
def test_the_crds_take_what_works(installed, manifest):
    installed.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=manifest)


def test_a_gateway_gets_a_proxy_that_passes_the_restricted_level(installed):
    level = installed.get("namespace", NAMESPACE)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert level == "restricted"
    installed.apply(GATEWAY)
    address = installed.programmed(NAMESPACE, "front")
    service = installed.get("service", "front", "-n", NAMESPACE)
    assert service["spec"]["type"] == "LoadBalancer"
    assert [port["port"] for port in service["spec"]["ports"]] == [80, 8080]
    assert service["status"]["loadBalancer"]["ingress"][0]["ip"] == address
    (pod,) = installed.get("pods", "-n", NAMESPACE, "-l", "gateway.networking.k8s.io/gateway-name=front")["items"]
    mounted = [volume["name"] for volume in pod["spec"]["volumes"]]
    assert not [name for name in mounted if name.startswith("kube-api-access")], "the proxy has an API token"
    (container,) = pod["spec"]["containers"]
    assert {"requests", "limits"} <= set(container["resources"])
    owners = service["metadata"]["ownerReferences"]
    assert [(owner["kind"], owner["name"]) for owner in owners] == [("Gateway", "front")]


def test_the_account_of_a_proxy_may_do_nothing(installed):
    account = f"system:serviceaccount:{NAMESPACE}:front"
    for verb, what in (("list", "secrets"), ("get", "configmaps"), ("list", "gateways.gateway.networking.k8s.io")):
        with pytest.raises(CommandFailed) as no:
            installed.kubectl("auth", "can-i", verb, what, "--as", account, "-n", NAMESPACE)
        assert "no" in str(no.value)


def test_an_upgrade_keeps_the_ca_and_adds_a_replica(installed):
    ca = installed.get("secret", "agentgateway-xds-ca", "-n", NAMESPACE)["data"]
    assert {"ca.crt", "ca.key"} <= set(ca)
    installed.install("replicas=2", "log.level=debug")
    deployment = installed.get("deployment", CONTROLPLANE, "-n", NAMESPACE)
    assert deployment["status"]["readyReplicas"] == 2
    assert installed.get("poddisruptionbudget", CONTROLPLANE, "-n", NAMESPACE)["spec"]["maxUnavailable"] == 1
    assert installed.get("secret", "agentgateway-xds-ca", "-n", NAMESPACE)["data"] == ca
    assert installed.get("lease", CONTROLPLANE, "-n", NAMESPACE)["spec"]["holderIdentity"]


def test_wrong_values_are_refused_by_their_names(cluster):
    for value, said in (("replicas=0", "replicas"), ("replica=2", "replica"), ("image.pullPolicy=Sometimes", "pullPolicy")):
        with pytest.raises(CommandFailed) as refused:
            cluster.helm("template", "x", CHARTS / "agentgateway", "--set", value)
        assert said in str(refused.value)


def test_the_notes_say_what_comes_next(installed):
    notes = installed.helm("get", "notes", "agentgateway", "--namespace", NAMESPACE)
    manifest = notes[notes.index("apiVersion") : notes.index("    EOF\n")]
    manifest = "\n".join(line.removeprefix("    ") for line in manifest.splitlines())
    installed.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=manifest)


def test_the_plain_manifests_are_accepted(installed):
    folder = ROOT / "deploy" / "manifests"
    installed.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", folder)


def test_uninstalling_leaves_nothing(installed):
    installed.kubectl("-n", NAMESPACE, "delete", "gateway", "front", "--ignore-not-found")
    assert left(installed), "nothing was there before"
    installed.uninstall()
    wait_for("nothing is left", lambda: left(installed) == [], seconds=60)
    events = installed.get("events", "-n", NAMESPACE)["items"]
    assert not [e for e in events if e["type"] == "Warning" and "violates PodSecurity" in json.dumps(e)]
