"""Route probe: routes added one by one, each asked for until it answers; also while other objects change all the time."""

import collections
import threading
import time

from . import figures, objects, traffic
from .setup import BRIDGE, GATEWAY, NAMESPACE, SERVICE

ROUTES = 3000
BLOCKS = 6
MEDIAN_LIMIT, P99_LIMIT = 30, 100


def host(n):
    return f"{n}-route.example.com"


def route(n):
    rules = [
        {"matches": [objects.prefix("/")], "filters": [objects.header_modifier("a")], "backendRefs": [objects.backend(SERVICE)]},
        # Its Service does not exist.
        {
            "matches": [objects.prefix("/missing")],
            "filters": [objects.header_modifier("b")],
            "backendRefs": [objects.backend("missing")],
        },
    ]
    return objects.route(NAMESPACE, f"probe-{n}", objects.parent(NAMESPACE, GATEWAY), rules, [host(n)])


class Churn:
    """Changes a route every second and the endpoints of a Service every two, beside the test."""

    def __init__(self, bench):
        self.bench, self.changes = bench, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.bench.service(NAMESPACE, "churn")
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _run(self):
        api, n = self.bench.api, 0
        while not self._stop.wait(1):
            n += 1
            rules = [{"filters": [objects.header_modifier(str(n))], "backendRefs": [objects.backend("churn")]}]
            parent = objects.parent(NAMESPACE, GATEWAY)
            api.replace(objects.route(NAMESPACE, "churn", parent, rules, ["churn.example.com"]))
            if n % 2:
                addresses = [BRIDGE] if n % 4 == 1 else [BRIDGE, "172.30.0.99"]
                api.replace(objects.endpoints(NAMESPACE, "churn", {80: 18080, 81: 18081}, addresses))
            self.changes += 1


def probe(bench, address, first, count):
    """Latencies in milliseconds, in order, and unexpected answers."""
    connection = traffic.connect(address)
    latencies, unexpected = [], collections.Counter()
    told = time.monotonic()
    for n in range(first, first + count):
        created = bench.api.create(route(n))
        served, others = traffic.until(connection, host(n))
        latencies.append(max(0.0, served - created) * 1e3)
        unexpected += others
        if time.monotonic() - told > 10:
            told = time.monotonic()
            bench.say(f"{n} routes, the last after {latencies[-1]:.1f} ms")
    return latencies, unexpected


def run(bench, scale):
    count = ROUTES * scale
    with bench.gateway() as address:
        controlplane, proxy = bench.controlplane(), bench.proxy()
        begin = (controlplane.cpu_seconds(), proxy.cpu_seconds())
        quiet, unexpected = probe(bench, address, 0, count)
        cpu = (controlplane.cpu_seconds() - begin[0], proxy.cpu_seconds() - begin[1])
        with Churn(bench) as churn:
            churned, others = probe(bench, address, count, 300 * scale)
        unexpected += others
        memory = {"proxy": round(proxy.resident_megabytes(), 1), "controlplane": round(controlplane.resident_megabytes(), 1)}
    size = count // BLOCKS
    blocks = {i * size + size: figures.summary(quiet[i * size : (i + 1) * size]) for i in range(BLOCKS)}
    result = {
        "routes": count,
        "milliseconds": figures.summary(quiet),
        "milliseconds_by_routes": blocks,
        "milliseconds_under_churn": figures.summary(churned),
        "churn_changes": churn.changes,
        "unexpected_answers": {str(k): v for k, v in unexpected.items()},
        "cpu_milliseconds_per_route": {
            "controlplane": round(cpu[0] / count * 1e3, 2),
            "proxy": round(cpu[1] / count * 1e3, 2),
        },
        "resident_megabytes": memory,
    }
    failures = [f"unexpected answers: {dict(unexpected)}"] if unexpected else []
    for name, values in (("the last block", blocks[max(blocks)]), ("churn", result["milliseconds_under_churn"])):
        if values["median"] > MEDIAN_LIMIT or values["p99"] > P99_LIMIT:
            failures.append(f"{name}: median {values['median']} ms, p99 {values['p99']} ms; limits {MEDIAN_LIMIT} and {P99_LIMIT}")
    return result, failures


def report(result):
    rows = [[f"up to {n}", *figures.milliseconds(values)] for n, values in result["milliseconds_by_routes"].items()]
    rows.append([f"{result['routes']}, under churn", *figures.milliseconds(result["milliseconds_under_churn"])])
    cpu, memory = result["cpu_milliseconds_per_route"], result["resident_megabytes"]
    return "\n\n".join([
        figures.table(["routes", "median ms", "90 %", "99 %", "longest"], rows),
        f"Answers other than 404 and 200: {result['unexpected_answers'] or 'none'}. CPU per route: control plane "
        f"{cpu['controlplane']} ms, proxy {cpu['proxy']} ms. Resident in the end: control plane {memory['controlplane']} MB, "
        f"proxy {memory['proxy']} MB.",
    ])
