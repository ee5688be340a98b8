"""ListenerSet scale: namespaces with ListenerSets of their own, each an HTTPS listener with routes; memory, and what one more costs."""

import base64
import pathlib
import ssl
import subprocess
import tempfile
import time

from . import figures, objects, programs, traffic
from .setup import BRIDGE, GATEWAY, NAMESPACE, SERVICE

NAMESPACES, SETS, ROUTES = 20, 25, 4
MORE = 20


def names():
    return [f"sets-{n}" for n in range(NAMESPACES)]


def host(namespace, n):
    return f"s{n}.{namespace}.example.com"


def certificate(namespace):
    """A Secret with a self-signed certificate for all hosts of a namespace."""
    with tempfile.TemporaryDirectory() as folder:
        key, chain = pathlib.Path(folder) / "key.pem", pathlib.Path(folder) / "chain.pem"
        name = f"*.{namespace}.example.com"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
            + ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", chain],
            check=True,
            capture_output=True,
        )
        data = {"tls.crt": chain.read_bytes(), "tls.key": key.read_bytes()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "certificate", "namespace": namespace},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def listener_set(namespace, n):
    listener = {
        "name": "https",
        "port": 443,
        "protocol": "HTTPS",
        "hostname": host(namespace, n),
        "tls": {"certificateRefs": [{"name": "certificate"}]},
    }
    return {
        "apiVersion": objects.GATEWAY_API,
        "kind": "ListenerSet",
        "metadata": {"name": f"set-{n}", "namespace": namespace},
        "spec": {"parentRef": objects.parent(NAMESPACE, GATEWAY), "listeners": [listener]},
    }


def routes(namespace, n):
    for i in range(ROUTES):
        rules = [{"matches": [objects.prefix(f"/{i}")], "backendRefs": [objects.backend(SERVICE)]}]
        parents = [objects.parent(namespace, f"set-{n}", "ListenerSet")]
        yield objects.route(namespace, f"set-{n}-{i}", None, rules, parents=parents)


def until_served(address, name, path):
    """Handshakes anew until the host is served; gives the time."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    end = time.perf_counter() + traffic.GIVE_UP_SECONDS
    while time.perf_counter() < end:
        try:
            connection = traffic.connect_tls(address, name, context)
            if traffic.ask(connection, name, path) == 200:
                return time.perf_counter()
            connection.close()
        except OSError:
            time.sleep(traffic.PAUSE_SECONDS)
    raise TimeoutError(f"https://{name}{path} is not served after {traffic.GIVE_UP_SECONDS} s")


def run(bench, scale):
    sets = SETS * scale
    with bench.gateway(allowedListeners={"namespaces": {"from": "All"}}) as address, bench.namespaces(*names()):
        controlplane, proxy = bench.controlplane(), bench.proxy()
        begin, cpu = time.monotonic(), (controlplane.cpu_seconds(), proxy.cpu_seconds())
        for namespace in names():
            bench.api.create(certificate(namespace))
            bench.api.create(objects.service(namespace, SERVICE, 80))
            bench.api.create(objects.endpoints(namespace, SERVICE, {80: 18080}, [BRIDGE]))
            bench.api.all(bench.api.create, (listener_set(namespace, n) for n in range(sets)))
            bench.api.all(bench.api.create, (route for n in range(sets) for route in routes(namespace, n)))
            bench.say(f"{namespace}: {sets} ListenerSets, {sets * ROUTES} routes")
        until_served(address, host(names()[-1], sets - 1), f"/{ROUTES - 1}")
        made = time.monotonic() - begin
        cpu = (controlplane.cpu_seconds() - cpu[0], proxy.cpu_seconds() - cpu[1])
        time.sleep(5)
        idle = {"proxy": programs.idle_share(proxy), "controlplane": programs.idle_share(controlplane)}
        latencies = []
        for n in range(sets, sets + MORE):
            for route in routes(names()[0], n):
                bench.api.create(route)
            created = bench.api.create(listener_set(names()[0], n))
            latencies.append((until_served(address, host(names()[0], n), "/0") - created) * 1e3)
        memory = {"proxy": proxy.resident_megabytes(), "controlplane": controlplane.resident_megabytes()}
    result = {
        "listener_sets": NAMESPACES * sets,
        "routes": NAMESPACES * sets * ROUTES,
        "seconds_to_make": round(made, 1),
        "controlplane_cpu_seconds": round(cpu[0], 1),
        "proxy_cpu_seconds": round(cpu[1], 1),
        "idle_cpu_share": {name: round(share, 4) for name, share in idle.items()},
        "resident_megabytes": {name: round(size, 1) for name, size in memory.items()},
        "milliseconds_one_more": figures.summary(latencies),
    }
    return result, []


def report(result):
    memory, idle = result["resident_megabytes"], result["idle_cpu_share"]
    return "\n\n".join([
        f"{result['listener_sets']} ListenerSets with {result['routes']} routes, made in {result['seconds_to_make']} s "
        f"(control plane {result['controlplane_cpu_seconds']} s of CPU, proxy {result['proxy_cpu_seconds']} s).",
        figures.table(["", "MB", "idle CPU, share of a core"], [[p, memory[p], f"{idle[p]:.2%}"] for p in ("proxy", "controlplane")]),
        f"From one more ListenerSet to the first answer over TLS, a handshake included, {MORE} times:",
        figures.table(["median ms", "90 %", "99 %", "longest"], [figures.milliseconds(result["milliseconds_one_more"])]),
    ])
