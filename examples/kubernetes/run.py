#!/usr/bin/env python3
"""Applies the examples of this folder to a test cluster that has the charts, and says what to try: run.py CLUSTER PYTHON"""

import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "deploy"))

from testcluster import NAMESPACE, Cluster, CommandFailed, wait_for  # noqa: E402

CLIENT = "examples/quickstart/client.py"


def main(name, python):
    began = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    cluster = Cluster(name)
    say("an MCP server in namespace mcp")
    cluster.apply(HERE / "mcp-server.yaml")
    cluster.rollout("mcp", "github-mcp-server")
    say(f"a Gateway in {NAMESPACE}, a Backend and an HTTPRoute")
    cluster.apply(HERE / "ingress-and-mcp.yaml")
    address = cluster.programmed(NAMESPACE, "agentgateway")
    command = [python, CLIENT, f"http://{address}/mcp", "echo", "message=hello"]

    def works():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"NO_PROXY": "*"}, timeout=60)
        if done.returncode != 0:
            raise CommandFailed(done.stderr)
        return done.stdout

    answer = wait_for("an MCP session through the Gateway", works)
    say(f"an MCP session through the Gateway works; the Gateway has the address {address}")
    kubectl = f"build/bin/kube kubectl --kubeconfig {cluster.kubeconfig.relative_to(ROOT)}"
    policy = json.dumps(
        {
            "apiVersion": "gateway.kgateway.dev/v1alpha1",
            "kind": "TrafficPolicy",
            "metadata": {"name": "two-tools", "namespace": "mcp"},
            "spec": {
                "targetRefs": [{"group": "gateway.kgateway.dev", "kind": "Backend", "name": "github-mcp-backend"}],
                "rbac": {"policy": {"matchExpressions": ['mcp.tool.name in ["echo", "get-sum"]']}},
            },
        }
    )
    print(f"\nTry it, in {ROOT}:\n\n  {' '.join(command)}\n")
    print("".join(f"    {line}\n" for line in answer.splitlines()))
    print(f"  {kubectl} get gateways,httproutes,backends.gateway.kgateway.dev,trafficpolicies,pods -A\n")
    print(f"  # a policy that leaves two tools; the first command shows it at once\n  {kubectl} apply -f - <<<'{policy}'\n")
    print("`make cluster-down` removes the cluster.")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (AssertionError, CommandFailed) as error:
        sys.exit(str(error))
