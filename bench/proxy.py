#!/usr/bin/env python3
"""CPU per request of the proxy against a bare hyper proxy and nginx, side by side; memory; spread of long connections.

Interleaved rounds over loopback: every round measures each candidate once, so that what else the machine does meets all
of them alike. CPU time of the proxy's process is the steady figure; requests per second are not compared.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
ROUTES = 100
CONNECTIONS = 64
RATIO_LIMIT = 1.2
# Whole processor ticks (10 ms) are all the kernel tells; a round of some seconds keeps their share small.


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def thread_cpu(pid):
    """CPU seconds by thread name."""
    out = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name, rest = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        fields = rest.split()
        out[name] = (int(fields[11]) + int(fields[12])) / TICKS
    return out


def resident_megabytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


class Fleet:
    """Processes of one measurement; ended by pid when it is over."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def start(self, *command, **environment):
        log = open(self.folder / f"{len(self.processes)}.log", "wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        self.processes.append(process)
        return process.pid

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def nginx(fleet, name, server):
    config = fleet.folder / f"{name}.conf"
    config.write_text(f"""
worker_processes 1; daemon off; master_process off; pid {fleet.folder}/{name}.pid; error_log {fleet.folder}/{name}.err;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; {server} }}
""")
    return fleet.start("nginx", "-c", str(config))


def gateway(fleet, binary, upstream, workers=1, access_log=False):
    port, admin, metrics, readiness = (free_port() for _ in range(4))
    routes = "".join(
        f"    - {{matches: [{{path: {{pathPrefix: /route/{i}}}}}], backends: [{{host: '127.0.0.1:{upstream}'}}]}}\n"
        for i in range(ROUTES - 1)
    )
    config = fleet.folder / f"gateway-{port}.yaml"
    config.write_text(f"""config:
  adminAddr: 127.0.0.1:{admin}
  metricsAddr: 127.0.0.1:{metrics}
  readinessAddr: 127.0.0.1:{readiness}
  workers: {workers}
  accessLog: {str(access_log).lower()}
binds:
- port: {port}
  address: 127.0.0.1
  listeners:
  - routes:
    - {{backends: [{{host: '127.0.0.1:{upstream}'}}]}}
{routes}""")
    pid = fleet.start(binary, "-f", str(config))
    wait_for(port)
    return port, pid, metrics


def wrk(port, seconds, path="/"):
    out = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", f"http://127.0.0.1:{port}{path}"],
        capture_output=True, text=True, check=True,
    ).stdout
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    if errors or "Socket errors" in out:
        sys.exit(f"errors under load on port {port}:\n{out}")
    return int(re.search(r"(\d+) requests in", out)[1])


def summary(values):
    return {"median": statistics.median(values), "minimum": min(values), "maximum": max(values)}


def measure_cpu(fleet, binaries, rounds, seconds):
    backend = free_port()
    body = "x" * 1024
    nginx(fleet, "backend", f'server {{ listen 127.0.0.1:{backend}; location / {{ return 200 "{body}"; }} }}')
    wait_for(backend)
    nginx_port, bare_port = free_port(), free_port()
    candidates = {
        "nginx": (nginx_port, nginx(fleet, "proxy", f"""
            upstream u {{ server 127.0.0.1:{backend}; keepalive 128; keepalive_requests 100000000; }}
            server {{ listen 127.0.0.1:{nginx_port}; location / {{
                proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""")),
        "bare hyper proxy": (bare_port, fleet.start(binaries.bare, f"127.0.0.1:{bare_port}", f"127.0.0.1:{backend}")),
        "agentgateway": gateway(fleet, binaries.binary, backend)[:2],
        "agentgateway, access log on": gateway(fleet, binaries.binary, backend, access_log=True)[:2],
    }
    for port, _ in candidates.values():
        wait_for(port)
        wrk(port, 1)
    cost = {name: [] for name in candidates}
    ratio = {name: [] for name in candidates}
    for n in range(rounds):
        print(f"round {n + 1} of {rounds}", file=sys.stderr)
        for name, (port, pid) in candidates.items():
            before = cpu_seconds(pid)
            requests = wrk(port, seconds)
            cost[name].append((cpu_seconds(pid) - before) / requests * 1e4)
        for name in candidates:
            ratio[name].append(cost[name][-1] / cost["bare hyper proxy"][-1])
    return {
        name: {"cpu_seconds_per_10000": summary(cost[name]), "ratio_to_bare": summary(ratio[name])}
        for name in candidates
    }, backend


def measure_spread(fleet, binary, backend):
    """8 long HTTP/2 connections on 2 workers: each worker's share of the CPU time."""
    port, pid, metrics = gateway(fleet, binary, backend, workers=2)
    before = thread_cpu(pid)
    subprocess.run(["h2load", "-c8", "-m4", "-t1", "-D3", f"http://127.0.0.1:{port}/"], capture_output=True, check=True)
    after = thread_cpu(pid)
    used = {name: after[name] - before.get(name, 0) for name in after if name.startswith("worker-")}
    text = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
    handed_over = int(float(re.search(r"^agentgateway_downstream_handed_over_total (\d+)", text, re.M)[1]))
    total = sum(used.values())
    return {"share_of_busier_worker": max(used.values()) / total if total else None, "handed_over": handed_over}


def measure_memory(fleet, binary, backend):
    port, pid, _ = gateway(fleet, binary, backend, workers=2)
    for _ in range(1000):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
    return resident_megabytes(pid)


def report(result):
    lines = [
        "# HTTP: cost per request",
        "",
        f"{result['date']}, {result['machine']}, {result['command']}",
        "",
        f"HTTP/1.1, {CONNECTIONS} kept connections, 1 KiB answers, {ROUTES} routes, metrics on, one worker; "
        f"{result['rounds']} interleaved rounds of {result['seconds']} s. Median (minimum to maximum).",
        "",
        "| | CPU seconds per 10,000 requests | against the bare proxy, by round |",
        "|---|---|---|",
    ]
    for name, figures in result["http1"].items():
        cost, ratio = figures["cpu_seconds_per_10000"], figures["ratio_to_bare"]
        lines.append(
            f"| {name} | {cost['median']:.3f} ({cost['minimum']:.3f} to {cost['maximum']:.3f}) "
            f"| {ratio['median']:.2f} ({ratio['minimum']:.2f} to {ratio['maximum']:.2f}) |"
        )
    spread = result["http2_spread"]
    lines += [
        "",
        f"8 long HTTP/2 connections on 2 workers: the busier worker had {spread['share_of_busier_worker']:.0%} of the work; "
        f"{spread['handed_over']} connections were handed over.",
        "",
        f"Resident memory with 2 workers after 1,000 requests: {result['memory_megabytes']:.1f} MB.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="agentgateway")
    parser.add_argument("--bare", required=True, help="bare-proxy, built with the same profile")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--ratio-limit", type=float, default=RATIO_LIMIT)
    parser.add_argument("--profile", default="release", help="cargo profile of the binaries, for the report")
    parser.add_argument("--results", type=pathlib.Path, help="folder to write http.json and http.md to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(pathlib.Path(folder))
        try:
            http1, backend = measure_cpu(fleet, arguments, arguments.rounds, arguments.seconds)
            result = {
                "date": time.strftime("%Y-%m-%d"),
                "machine": f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
                "command": f"bench/proxy.py, {arguments.profile} profile",
                "load_average_before": os.getloadavg()[2],
                "rounds": arguments.rounds,
                "seconds": arguments.seconds,
                "http1": http1,
                "http2_spread": measure_spread(fleet, arguments.binary, backend),
                "memory_megabytes": measure_memory(fleet, arguments.binary, backend),
            }
        finally:
            fleet.stop()
    text = report(result)
    print(text)
    if arguments.results:
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / "http.json").write_text(json.dumps(result, indent=2) + "\n")
        (arguments.results / "http.md").write_text(text)
    ratio = http1["agentgateway"]["ratio_to_bare"]["median"]
    if ratio > arguments.ratio_limit:
        sys.exit(f"CPU per request is {ratio:.2f} times the bare proxy's; the limit is {arguments.ratio_limit}")


if __name__ == "__main__":
    main()
