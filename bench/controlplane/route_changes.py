"""Route changes: one route flips its backend's port and its filters under constant traffic; then endpoints do; all answer 200."""

import time

from . import figures, objects, traffic
from .setup import BRIDGE, GATEWAY, NAMESPACE, SERVICE

ITERATIONS, PAUSE_SECONDS, RATE = 20, 0.2, 300
HOST = "changes.example.com"


def route(n):
    filters = [[], [objects.header_modifier(str(n))]][n % 2]
    rules = [{"filters": filters, "backendRefs": [objects.backend(SERVICE, 80 + n % 2)]}]
    return objects.route(NAMESPACE, "changes", objects.parent(NAMESPACE, GATEWAY), rules, [HOST])


def endpoint_change(bench, n):
    # The port behind the Service's port moves.
    ports = {80: 18080 + n % 2, 81: 18081 - n % 2}
    bench.api.replace(objects.endpoints(NAMESPACE, SERVICE, ports, [BRIDGE]))


def listener_change(bench, n):
    everywhere = {"namespaces": {"from": "All"}}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": everywhere}]
    if n % 2:
        other = {"name": "other", "port": 80, "protocol": "HTTP", "hostname": "other.example.com", "allowedRoutes": everywhere}
        listeners.append(other)
    bench.api.replace(objects.gateway(NAMESPACE, GATEWAY, listeners))


def run(bench, scale):
    changes = {
        "route: backend port and filters": lambda n: bench.api.replace(route(n)),
        "endpoints": lambda n: endpoint_change(bench, n),
        "listeners": lambda n: listener_change(bench, n),
    }
    result = {}
    with bench.gateway() as address:
        bench.api.replace(route(0))
        traffic.until(traffic.connect(address), HOST)
        for name, change in changes.items():
            with traffic.Constant(address, [HOST], RATE) as constant:
                for n in range(ITERATIONS * scale):
                    change(n)
                    time.sleep(PAUSE_SECONDS)
            answers = {str(status): count for status, count in constant.statuses.items()}
            result[name] = {"changes": ITERATIONS * scale, "answers": answers, "failed": constant.failed()}
            bench.say(f"{name}: {result[name]}")
    failures = [f"{name}: {values['failed']} requests failed" for name, values in result.items() if values["failed"]]
    return result, failures


def report(result):
    rows = [[name, v["changes"], v["answers"].get("200", 0), v["failed"]] for name, v in result.items()]
    return figures.table(["what changes", "changes", "requests answered 200", "failed"], rows)
