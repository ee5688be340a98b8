"""The book's Gateways on a real cluster: its manifests applied as they are, real MCP clients and a real server behind."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from testcluster import NAMESPACE, CommandFailed, wait_for

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples" / "kubernetes"
CLIENT = HERE / "client.py"
ALL_TOOLS = {"echo", "get-sum", "get-env"}


def use(url, *call):
    """One session of the official client on this machine."""
    done = subprocess.run([sys.executable, CLIENT, url, *call], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def contains(found, wanted, path="$"):
    """Whether every member of `wanted` is in `found`; members of a list, in any order and place."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict), f"{path}: {found!r}"
        for key, value in wanted.items():
            assert key in found, f"{path}.{key} is missing in {sorted(found)}"
            contains(found[key], value, f"{path}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(found, list), f"{path}: {found!r}"
        for index, value in enumerate(wanted):
            reasons = []
            for candidate in found:
                try:
                    contains(candidate, value, f"{path}[{index}]")
                    break
                except AssertionError as reason:
                    reasons.append(str(reason))
            else:
                raise AssertionError(f"{path}[{index}]: {'; '.join(reasons) or 'the list is empty'}")
    else:
        assert found == wanted and type(found) is type(wanted), f"{path}: {found!r}, not {wanted!r}"


@pytest.fixture(scope="module")
def server(installed):
    installed.apply(EXAMPLES / "mcp-server.yaml")
    installed.rollout("mcp", "github-mcp-server")
    return installed


@pytest.fixture(scope="module")
def ingress(server):
    """The book's Gateway in kgateway-system; gives its address."""
    server.apply(EXAMPLES / "ingress-and-mcp.yaml")
    return server.programmed(NAMESPACE, "agentgateway")


@pytest.fixture(scope="module")
def pod(server):
    """The official client in a pod of namespace mcp: `use`, but from there."""
    server.kubectl("-n", "mcp", "create", "configmap", "client", f"--from-file={CLIENT}")
    server.apply(HERE / "client.yaml")
    server.kubectl("-n", "mcp", "wait", "--for=condition=Ready", "pod/client", "--timeout=90s")

    def use(url, *call):
        words = ["exec", "client", "--", "/usr/local/bin/python3", "/scripts/client.py", url, *call]
        return json.loads(server.kubectl("-n", "mcp", *words))

    return use


def test_the_gateway_is_programmed_and_its_proxy_ready(cluster, ingress):
    assert ingress.startswith("172.31."), ingress
    assert cluster.condition("gateway", NAMESPACE, "agentgateway", "Accepted")["status"] == "True"
    assert cluster.condition("httproute", "mcp", "github-mcp-route", "Accepted")["status"] == "True"
    assert cluster.condition("httproute", "mcp", "github-mcp-route", "ResolvedRefs")["status"] == "True"
    gatewayclass = cluster.get("gatewayclass", "agentgateway")
    assert [c["status"] for c in gatewayclass["status"]["conditions"] if c["type"] == "Accepted"] == ["True"]
    ready = cluster.get("deployment", "agentgateway", "-n", NAMESPACE)["status"]["readyReplicas"]
    assert ready == 1


def test_the_config_dump_is_the_books(ingress, forward):
    port = forward(NAMESPACE, "agentgateway", 15000)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/config_dump", timeout=10) as response:
        dump = json.load(response)
    contains(dump, json.loads((HERE / "config-dump.json").read_text()))


def test_the_official_client_lists_and_calls_tools_at_the_gateways_address(ingress):
    answer = use(f"http://{ingress}/mcp", "echo", '{"message": "by the address"}')
    assert ALL_TOOLS <= set(answer["tools"]), answer
    assert "by the address" in answer["text"]
    assert use(f"http://{ingress}/mcp", "get-sum", '{"a": 2, "b": 40}')["text"].count("42")


def test_a_policy_names_the_tools_that_agents_in_the_cluster_may_use(cluster, server, ingress, pod):
    url = "http://agentgateway.mcp.svc.cluster.local:3000"
    everything = set(use(f"http://{ingress}/mcp")["tools"])
    server.apply(EXAMPLES / "tool-access.yaml")
    server.programmed("mcp", "agentgateway")

    def accepted():
        return cluster.condition("trafficpolicy", "mcp", "github-rbac-policy", "Accepted").get("status") == "True"

    wait_for("the policy is accepted", accepted)

    wait_for("two tools are left", lambda: pod(url)["tools"] == ["echo", "get-sum"])
    assert "allowed" in pod(url, "echo", '{"message": "allowed"}')["text"]
    refused = pod(url, "get-env", "{}")
    assert "text" not in refused and "error" in refused, refused
    assert "get-env" in refused["error"], refused

    server.kubectl("-n", "mcp", "delete", "trafficpolicy", "github-rbac-policy")
    wait_for("all tools are back", lambda: set(pod(url)["tools"]) == everything)
    answer = pod(url, "get-env", "{}")
    assert "error" not in answer and not answer["is_error"], answer


def test_a_service_port_says_that_it_speaks_mcp(cluster, server, ingress):
    server.apply(EXAMPLES / "mcp-service.yaml")
    url = f"http://{ingress}/everything"
    answer = wait_for("the route serves", lambda: use(url, "echo", '{"message": "no Backend"}'))
    assert ALL_TOOLS <= set(answer["tools"]) and "no Backend" in answer["text"]
    # Without the protocol the same port is plain HTTP, where this path does not exist.
    patch = '[{"op": "remove", "path": "/spec/ports/0/appProtocol"}]'
    cluster.kubectl("-n", "mcp", "patch", "service", "everything", "--type=json", "-p", patch)

    def gone():
        with pytest.raises(AssertionError):
            use(url)
        return True

    wait_for("the port is plain HTTP", gone)


def test_the_control_plane_was_refused_nothing(ingress, controlplane_log):
    lines = [line for line in controlplane_log().splitlines() if "forbidden" in line.lower()]
    assert lines == []


def test_a_gateway_that_goes_takes_its_proxy_along(cluster, ingress):
    cluster.kubectl("-n", "mcp", "delete", "gateway", "agentgateway")
    selector = "gateway.networking.k8s.io/gateway-name=agentgateway"
    kinds = "deployments,services,serviceaccounts,pods"
    wait_for("its objects are gone", lambda: not cluster.get(kinds, "-n", "mcp", "-l", selector)["items"], 60)
    with pytest.raises(CommandFailed):
        cluster.kubectl("-n", "mcp", "get", "configmap", "agentgateway-xds-ca")
    assert cluster.get("deployment", "agentgateway", "-n", NAMESPACE)["status"]["readyReplicas"] == 1
