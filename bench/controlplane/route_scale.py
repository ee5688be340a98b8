"""Route scale: 50 namespaces with 100 routes and Services each; memory, idle CPU, and what one change costs as routes grow."""

import time

from . import figures, objects, programs, traffic
from .api import Watch
from .setup import BRIDGE, GATEWAY, NAMESPACE

NAMESPACES, PER_NAMESPACE = 50, 100
CHANGES = 40
PROXY_LIMIT_MEGABYTES, CONTROLPLANE_LIMIT_MEGABYTES, IDLE_LIMIT = 40, 150, 0.01


def names():
    return [f"scale-{n}" for n in range(NAMESPACES)]


def host(namespace, n):
    return f"{n}.{namespace}.example.com"


def route(namespace, n, note="0"):
    rules = [{"filters": [objects.header_modifier(note)], "backendRefs": [objects.backend(f"service-{n}")]}]
    return objects.route(namespace, f"route-{n}", objects.parent(NAMESPACE, GATEWAY), rules, [host(namespace, n)])


def of_namespace(namespace, count):
    for n in range(count):
        yield objects.service(namespace, f"service-{n}", 80)
        yield objects.endpoints(namespace, f"service-{n}", {80: 18080}, [BRIDGE])
        yield route(namespace, n)


def cost_of_change(bench, address, namespace):
    """Median milliseconds until a changed header is served, and CPU milliseconds per change of both programs."""
    controlplane, proxy = bench.controlplane(), bench.proxy()
    connection = traffic.connect(address)
    traffic.until(connection, host(namespace, 0))
    begin = (controlplane.cpu_seconds(), proxy.cpu_seconds())
    latencies = []
    for n in range(CHANGES):
        note = f"change-{time.time_ns()}-{n}"
        written = bench.api.replace(route(namespace, 0, note))
        end = time.perf_counter() + 30
        while time.perf_counter() < end:
            connection.request("GET", "/", headers={"Host": host(namespace, 0)})
            response = connection.getresponse()
            response.read()
            if response.getheader("x-bench") == note:
                break
            time.sleep(traffic.PAUSE_SECONDS)
        else:
            raise TimeoutError("a change is not served after 30 s")
        latencies.append((time.perf_counter() - written) * 1e3)
    return {
        **figures.summary(latencies),
        "controlplane_cpu_milliseconds": round((controlplane.cpu_seconds() - begin[0]) / CHANGES * 1e3, 2),
        # The requests that ask for the change are in it.
        "proxy_cpu_milliseconds": round((proxy.cpu_seconds() - begin[1]) / CHANGES * 1e3, 2),
    }


def run(bench, scale):
    total = NAMESPACES * PER_NAMESPACE * scale
    steps = sorted({10, 100, 1000, total // 2, total})
    result = {"routes": total, "one_change": {}}
    httproutes = "/apis/gateway.networking.k8s.io/v1/httproutes"
    with bench.gateway() as address, bench.namespaces(*names()):
        watch = Watch(bench.api, httproutes)
        controlplane, proxy = bench.controlplane(), bench.proxy()
        begin, cpu = time.monotonic(), (controlplane.cpu_seconds(), proxy.cpu_seconds())
        made, measuring = 0, 0.0
        for namespace in names():
            for manifest in _in_steps(bench, namespace, PER_NAMESPACE * scale):
                made += manifest
                if steps and made >= steps[0]:
                    paused = time.monotonic()
                    result["one_change"][made] = cost_of_change(bench, address, namespace)
                    steps.pop(0)
                    measuring += time.monotonic() - paused
                    bench.say(f"{made} routes: a change {result['one_change'][made]['median']} ms")
        result["seconds_to_make"] = round(time.monotonic() - begin - measuring, 1)
        traffic.until(traffic.connect(address), host(names()[-1], PER_NAMESPACE * scale - 1))
        time.sleep(5)
        result["controlplane_cpu_seconds"] = round(controlplane.cpu_seconds() - cpu[0], 1)
        result["proxy_cpu_seconds"] = round(proxy.cpu_seconds() - cpu[1], 1)
        result["idle_cpu_share"] = {
            "proxy": round(programs.idle_share(proxy), 4),
            "controlplane": round(programs.idle_share(controlplane), 4),
        }
        result["resident_megabytes"] = {
            "proxy": round(proxy.resident_megabytes(), 1),
            "controlplane": round(controlplane.resident_megabytes(), 1),
        }
        result["route_writes_too_many"] = sum(
            max(0, count - 2) for (namespace, name), count in watch.writes.items() if name != "route-0"
        )
        watch.stop()
    memory, failures = result["resident_megabytes"], []
    if memory["proxy"] > PROXY_LIMIT_MEGABYTES * scale or memory["controlplane"] > CONTROLPLANE_LIMIT_MEGABYTES * scale:
        failures.append(f"memory is over its limit: {memory}")
    if result["idle_cpu_share"]["proxy"] > IDLE_LIMIT:
        failures.append(f"the proxy uses {result['idle_cpu_share']['proxy']:.1%} of a core when idle")
    if result["route_writes_too_many"]:
        failures.append(f"{result['route_writes_too_many']} status writes were repeated")
    return result, failures


def _in_steps(bench, namespace, count):
    """Makes a namespace's objects, and gives after every few how many routes were made."""
    size = 10 if namespace == names()[0] else 100
    manifests = list(of_namespace(namespace, count))
    for at in range(0, len(manifests), size * 3):
        part = manifests[at : at + size * 3]
        # A route that came before its Service would rightly get two statuses.
        for kind in ("Service", "EndpointSlice", "HTTPRoute"):
            bench.api.all(bench.api.create, (m for m in part if m["kind"] == kind))
        yield sum(m["kind"] == "HTTPRoute" for m in part)


def report(result):
    rows = [
        [n, *figures.milliseconds(v)[:3], v["controlplane_cpu_milliseconds"], v["proxy_cpu_milliseconds"]]
        for n, v in result["one_change"].items()
    ]
    memory, idle = result["resident_megabytes"], result["idle_cpu_share"]
    return "\n\n".join([
        f"{result['routes']} routes with a Service and an EndpointSlice each, made in {result['seconds_to_make']} s "
        f"(control plane {result['controlplane_cpu_seconds']} s of CPU, proxy {result['proxy_cpu_seconds']} s).",
        figures.table(["", "MB", "idle CPU, share of a core"], [[p, memory[p], f"{idle[p]:.2%}"] for p in ("proxy", "controlplane")]),
        "One changed route, by the number of routes:",
        figures.table(
            ["routes", "median ms", "90 %", "99 %", "control plane CPU ms", "proxy CPU ms, with the asking"], rows
        ),
    ])
