#!/usr/bin/env python3
"""From the API server's answer to the first 200: how long a new route takes on a cluster with the charts installed.

Routes are added one by one to those that are there; each is asked for without pause until it answers. Also the resident
memory of both programs after a thousand requests.

    bench/controlplane.py CLUSTER [--results DIR] [--limit MS]
"""

import argparse
import base64
import http.client
import json
import os
import pathlib
import platform
import re
import socket
import ssl
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy"))

from testcluster import Cluster  # noqa: E402

NAMESPACE = "bench"
GATEWAY = "bench"
SETTLED, MEASURED = 50, 50
LIMIT_MILLISECONDS = 50
PROXY_LIMIT_MEGABYTES, CONTROLPLANE_LIMIT_MEGABYTES = 15, 40
ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"

OBJECTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      containers:
      - name: echo
        image: testcluster.local/echo-basic:1
        env:
        - {{name: POD_NAME, value: echo}}
        - {{name: NAMESPACE, value: {NAMESPACE}}}
---
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: {NAMESPACE}}}
spec:
  selector: {{app: echo}}
  ports: [{{port: 80, targetPort: 3000}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {GATEWAY}, namespace: {NAMESPACE}}}
spec:
  gatewayClassName: agentgateway
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
"""


def route(n):
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": f"route-{n}", "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": GATEWAY}],
            "hostnames": [f"host-{n}.example.com"],
            "rules": [{"backendRefs": [{"name": "echo", "port": 80}]}],
        },
    }


class Api:
    """One kept connection to the API server, so that a create costs one round trip."""

    def __init__(self, kubeconfig):
        text = pathlib.Path(kubeconfig).read_text()
        server = re.search(r"server: \"?(https://[^\s\"},]+)", text)[1]
        host, port = server.removeprefix("https://").split(":")
        context = ssl.create_default_context(cadata=self.data(text, "certificate-authority").decode())
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(self.data(text, "client-certificate") + b"\n" + self.data(text, "client-key"))
            pair.flush()
            context.load_cert_chain(pair.name)
        self.connection = http.client.HTTPSConnection(host, int(port), context=context)

    @staticmethod
    def data(text, name):
        inline = re.search(rf"{name}-data: \"?([A-Za-z0-9+/=]+)", text)
        if inline:
            return base64.b64decode(inline[1])
        return pathlib.Path(re.search(rf"{name}: \"?([^\s\",}}]+)", text)[1]).read_bytes()

    def create(self, path, body):
        self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 201:
            sys.exit(f"create: {response.status} {answer.decode()}")
        return time.perf_counter()


def until_served(connection, n):
    """Asks until the answer is 200; anything but 404 before is an error."""
    end = time.perf_counter() + 10
    while time.perf_counter() < end:
        connection.request("GET", "/", headers={"Host": f"host-{n}.example.com"})
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            return time.perf_counter()
        if response.status != 404:
            sys.exit(f"route {n}: {response.status} before it was served")
        time.sleep(0.0005)
    sys.exit(f"route {n} is not served after 10 s")


def resident_megabytes(program, namespace):
    """Of the largest process of that name whose environment names the namespace."""
    sizes = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if pathlib.Path(os.readlink(process / "exe")).name != program:
                continue
            environment = (process / "environ").read_bytes().decode(errors="replace")
            status = (process / "status").read_text()
        except OSError:
            continue
        if namespace in environment:
            sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024)
    return max(sizes, default=None)


def report(result):
    latency = result["milliseconds_until_served"]
    memory = result["resident_megabytes"]
    return "\n".join([
        "# Control plane: how soon a change is served, and what the programs weigh",
        "",
        f"{result['date']}, {result['machine']}; `bench/controlplane.py` on a one-node cluster of the same machine, "
        f"{result['profile']} profile.",
        "",
        f"From the API server's answer to a create until the first 200 through the Gateway's address, {MEASURED} routes added "
        f"one by one to {SETTLED}:",
        "",
        "| median | 90 % | longest | limit of the median |",
        "|---|---|---|---|",
        f"| {latency['median']:.1f} ms | {latency['p90']:.1f} ms | {latency['maximum']:.1f} ms | {LIMIT_MILLISECONDS} ms |",
        "",
        "Resident memory after 1,000 requests, with the routes above:",
        "",
        "| | MB | limit |",
        "|---|---|---|",
        f"| proxy | {memory['proxy']:.1f} | {PROXY_LIMIT_MEGABYTES} |",
        f"| control plane | {memory['controlplane']:.1f} | {CONTROLPLANE_LIMIT_MEGABYTES} |",
        "",
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cluster", help="a cluster with the charts installed")
    parser.add_argument("--limit", type=float, default=LIMIT_MILLISECONDS, help="of the median, milliseconds")
    parser.add_argument("--profile", default="release", help="cargo profile of the images, for the report")
    parser.add_argument("--results", type=pathlib.Path, help="folder to write controlplane.json and .md to")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.cluster)
    cluster.apply(OBJECTS)
    try:
        cluster.rollout(NAMESPACE, "echo")
        address = cluster.programmed(NAMESPACE, GATEWAY)
        api = Api(cluster.kubeconfig)
        connection = http.client.HTTPConnection(address, 80)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(SETTLED):
            api.create(ROUTES, route(n))
        until_served(connection, SETTLED - 1)
        latencies = []
        for n in range(SETTLED, SETTLED + MEASURED):
            created = api.create(ROUTES, route(n))
            latencies.append(max(0.0, until_served(connection, n) - created) * 1e3)
        for n in range(1000):
            until_served(connection, n % (SETTLED + MEASURED))
        memory = {
            "proxy": resident_megabytes("agentgateway", f"NAMESPACE={NAMESPACE}"),
            "controlplane": resident_megabytes("agentgateway-controlplane", ""),
        }
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout", "90s")
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "profile": arguments.profile,
        "load_average": os.getloadavg()[0],
        "milliseconds_until_served": {
            "median": statistics.median(latencies),
            "p90": statistics.quantiles(latencies, n=10)[8],
            "maximum": max(latencies),
            "all": [round(v, 2) for v in latencies],
        },
        "resident_megabytes": memory,
    }
    text = report(result)
    print(text)
    if arguments.results:
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / "controlplane.json").write_text(json.dumps(result, indent=2) + "\n")
        (arguments.results / "controlplane.md").write_text(text)
    median = result["milliseconds_until_served"]["median"]
    if median > arguments.limit:
        sys.exit(f"the median is {median:.1f} ms; the limit is {arguments.limit} ms")


if __name__ == "__main__":
    main()
