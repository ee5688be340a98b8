"""What one change costs when all routes are on one host name, from 10 to 10,000 routes."""

import time

from . import figures, objects, traffic
from .setup import GATEWAY, NAMESPACE, SERVICE

HOST = "one.example.com"
STEPS = (10, 100, 1000, 10_000)
CHANGES = 40


def route(n, note="0"):
    rules = [{
        "matches": [objects.prefix(f"/p{n}")],
        "filters": [objects.header_modifier(note)],
        "backendRefs": [objects.backend(SERVICE)],
    }]
    return objects.route(NAMESPACE, f"one-{n}", objects.parent(NAMESPACE, GATEWAY), rules, [HOST])


def change(bench, connection, n):
    note = f"change-{time.time_ns()}"
    written = bench.api.replace(route(0, note))
    end = time.perf_counter() + 30
    while time.perf_counter() < end:
        connection.request("GET", "/p0", headers={"Host": HOST})
        response = connection.getresponse()
        response.read()
        if response.getheader("x-bench") == note:
            return (time.perf_counter() - written) * 1e3
        time.sleep(traffic.PAUSE_SECONDS)
    raise TimeoutError(f"change {n} is not served after 30 s")


def run(bench, _scale):
    result = {}
    with bench.gateway() as address:
        controlplane, proxy = bench.controlplane(), bench.proxy()
        made = 0
        for count in STEPS:
            bench.api.all(bench.api.create, (route(n) for n in range(made, count)), bench.say)
            made = count
            # A connection that was idle meanwhile would have been closed.
            connection = traffic.connect(address)
            traffic.until(connection, HOST, path=f"/p{count - 1}")
            begin = (controlplane.cpu_seconds(), proxy.cpu_seconds())
            latencies = [change(bench, connection, n) for n in range(CHANGES)]
            result[count] = {
                **figures.summary(latencies),
                "controlplane_cpu_milliseconds": round((controlplane.cpu_seconds() - begin[0]) / CHANGES * 1e3, 2),
                "proxy_cpu_milliseconds": round((proxy.cpu_seconds() - begin[1]) / CHANGES * 1e3, 2),
            }
            bench.say(f"{count} routes: a change {result[count]['median']} ms")
    few, many = result[STEPS[0]]["median"], result[STEPS[-1]]["median"]
    failures = [f"a change takes {many} ms with {STEPS[-1]} routes, {few} ms with {STEPS[0]}"] if many > 2 * few + 5 else []
    return result, failures


def report(result):
    rows = [
        [n, *figures.milliseconds(v)[:3], v["controlplane_cpu_milliseconds"], v["proxy_cpu_milliseconds"]]
        for n, v in result.items()
    ]
    return figures.table(["routes", "median ms", "90 %", "99 %", "control plane CPU ms", "proxy CPU ms, with the asking"], rows)
