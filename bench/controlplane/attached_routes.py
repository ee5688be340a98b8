"""Attached routes: N HTTPRoutes made at once; how long until the Gateway counts them all, and how many writes that takes."""

import time

from . import figures, objects
from .api import Watch
from .setup import GATEWAY, NAMESPACE, SERVICE

ROUTES = 1000
GIVE_UP_SECONDS = 300


def route(n):
    rules = [{"backendRefs": [objects.backend(SERVICE)]}]
    return objects.route(NAMESPACE, f"attached-{n}", objects.parent(NAMESPACE, GATEWAY), rules, [f"a{n}.example.com"])


def run(bench, scale):
    routes = [route(n) for n in range(ROUTES * scale)]
    gateways = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/gateways"
    httproutes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"
    reached = {}

    def note(_, gateway, at):
        for listener in gateway.get("status", {}).get("listeners", []):
            reached.setdefault(listener["attachedRoutes"], at)
            reached["last"] = (listener["attachedRoutes"], at)

    def wait_for(count, since):
        end = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < end:
            seen = reached.get("last")
            if seen and seen[0] == count and seen[1] >= since:
                return seen[1]
            time.sleep(0.01)
        raise TimeoutError(f"the Gateway does not count {count} routes after {GIVE_UP_SECONDS} s: {reached.get('last')}")

    with bench.gateway():
        controlplane = bench.controlplane()
        watch, of_routes = Watch(bench.api, gateways, note), Watch(bench.api, httproutes)
        cpu = controlplane.cpu_seconds()
        begin = time.perf_counter()
        created = bench.api.all(bench.api.create, routes, bench.say)
        setup = wait_for(len(routes), begin) - created
        time.sleep(2)
        writes_setup, route_writes = watch.total(), of_routes.total()
        begin = time.perf_counter()
        deleted = bench.api.all(bench.api.delete, routes, bench.say)
        teardown = wait_for(0, begin) - deleted
        time.sleep(2)
        cpu = controlplane.cpu_seconds() - cpu
        repeated = sum(max(0, n - 3) for n in of_routes.writes.values())
        writes = watch.total()
        watch.stop()
        of_routes.stop()
    result = {
        "routes": len(routes),
        "setup_seconds": round(max(0.0, setup), 3),
        "teardown_seconds": round(max(0.0, teardown), 3),
        "gateway_writes": {"setup": writes_setup, "teardown": writes - writes_setup},
        # A create, one status and a delete are three events.
        "route_status_writes": route_writes - len(routes),
        "route_writes_too_many": repeated,
        "controlplane_cpu_seconds": round(cpu, 2),
    }
    failures = [f"{repeated} status writes of routes were repeated"] if repeated else []
    return result, failures


def report(result):
    writes = result["gateway_writes"]
    row = [
        result["routes"],
        f"{result['setup_seconds']:.2f}",
        f"{result['teardown_seconds']:.2f}",
        f"{writes['setup']} + {writes['teardown']}",
        result["route_status_writes"],
        result["controlplane_cpu_seconds"],
    ]
    head = [
        "routes",
        "s from the last create until counted",
        "s from the last delete until 0",
        "writes of the Gateway's status",
        "writes of routes' statuses",
        "control plane CPU s",
    ]
    return figures.table(head, [row])
