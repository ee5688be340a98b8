"""From the API server's answer to the first 200, few routes: 50 added one by one to 50; memory after 1,000 requests."""

from . import figures, objects, traffic
from .setup import GATEWAY, NAMESPACE, SERVICE

SETTLED, MEASURED, REQUESTS = 50, 50, 1000
LIMIT_MILLISECONDS = 50
PROXY_LIMIT_MEGABYTES, CONTROLPLANE_LIMIT_MEGABYTES = 15, 40


def host(n):
    return f"host-{n}.example.com"


def route(n):
    rules = [{"backendRefs": [objects.backend(SERVICE)]}]
    return objects.route(NAMESPACE, f"route-{n}", objects.parent(NAMESPACE, GATEWAY), rules, [host(n)])


def run(bench, _scale):
    with bench.gateway() as address:
        connection = traffic.connect(address)
        bench.api.all(bench.api.create, (route(n) for n in range(SETTLED)))
        for n in range(SETTLED):
            traffic.until(connection, host(n))
        latencies = []
        for n in range(SETTLED, SETTLED + MEASURED):
            created = bench.api.create(route(n))
            served, _ = traffic.until(connection, host(n))
            latencies.append(max(0.0, served - created) * 1e3)
        for n in range(REQUESTS):
            traffic.ask(connection, host(n % (SETTLED + MEASURED)))
        memory = {
            "proxy": round(bench.proxy().resident_megabytes(), 1),
            "controlplane": round(bench.controlplane().resident_megabytes(), 1),
        }
    result = {"milliseconds_until_served": figures.summary(latencies), "resident_megabytes": memory}
    failures = []
    if result["milliseconds_until_served"]["median"] > LIMIT_MILLISECONDS:
        failures.append(f"the median is over {LIMIT_MILLISECONDS} ms")
    if memory["proxy"] > PROXY_LIMIT_MEGABYTES or memory["controlplane"] > CONTROLPLANE_LIMIT_MEGABYTES:
        failures.append("memory is over its limit")
    return result, failures


def report(result):
    memory = result["resident_megabytes"]
    latency = figures.milliseconds(result["milliseconds_until_served"])
    return "\n\n".join([
        f"From the API server's answer to a create until the first 200, {MEASURED} routes added one by one to {SETTLED}:",
        figures.table(
            ["median ms", "90 %", "99 %", "longest", "limit of the median"], [[*latency, LIMIT_MILLISECONDS]]
        ),
        f"Resident memory with these routes, after {REQUESTS} requests:",
        figures.table(
            ["", "MB", "limit"],
            [
                ["proxy", memory["proxy"], PROXY_LIMIT_MEGABYTES],
                ["control plane", memory["controlplane"], CONTROLPLANE_LIMIT_MEGABYTES],
            ],
        ),
    ])
