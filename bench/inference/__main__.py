"""Round robin, least requests, random and the picker, before the same simulated model servers and under the same load.

Servers have the parameters of parameters.json; --halve and --double change one of them. The load is 80 % of what round robin was
measured to serve. Run it with the CI or release profile; AGENTGATEWAY_BIN and MODEL_SERVER_BIN say which programs.
"""

import argparse
import asyncio
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import yaml  # noqa: E402

from bench.inference.load import run, saturate, share, words  # noqa: E402
from support.model_server import ModelServers  # noqa: E402
from support.ports import Ports  # noqa: E402
from support.proxy import Proxy  # noqa: E402

PICKERS = ("round robin", "least requests", "random", "built-in picker")


def chat(groups: int, prefix: int, question: int, answer: int):
    """Conversations of some groups that share a long beginning."""
    beginnings = [words(f"group {n}", prefix) for n in range(groups)]

    def make(n, rng):
        group = rng.randrange(groups)
        messages = [{"role": "system", "content": beginnings[group]}, {"role": "user", "content": words(f"{n} {rng.random()}", question)}]
        return body(messages, answer), "chat", ""

    return make


def documents(count: int, tokens: int, answer: int):
    """Questions about long documents, some more asked for than others."""
    texts = [words(f"document {n}", tokens) for n in range(count)]

    def make(n, rng):
        text = texts[min(int(rng.expovariate(4) * count), count - 1)]
        return body([{"role": "user", "content": text + words(f"{n} {rng.random()}", 50)}], answer), "document", ""

    return make


def body(messages, answer) -> bytes:
    return json.dumps({"model": "base", "messages": messages, "max_tokens": answer, "stream": True, "stream_options": {"include_usage": True}}).encode()


SCENARIOS = {
    "shared-prefix chat": chat(groups=120, prefix=4000, question=200, answer=100),
    "long documents": documents(count=40, tokens=20_000, answer=60),
}


def configuration(picker: str, servers, port: int) -> str:
    balancers = {"round robin": {"roundRobin": {}}, "least requests": {"leastRequest": {}}, "random": {"random": {}}}
    if picker == "built-in picker":
        backend = {"inference": {"hosts": servers.hosts}}
    else:
        backend = {"static": {"hosts": servers.hosts}, "policies": {"loadBalancer": balancers[picker]}}
    return yaml.safe_dump({"binds": [{"port": port, "listeners": [{"routes": [{"backends": [backend]}]}]}], "config": {"workers": 1}})


def cpu(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(picker, parameters, pods, make, rate, seconds, warm, capacity=False):
    """One policy in front of fresh servers."""
    ports = Ports()
    servers = ModelServers(pods, **{name.replace("-", "_"): value for name, value in parameters.items()})
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(pathlib.Path(folder), ports, configuration(picker, servers, ports.free()), ["--access-log", "false"])
        try:
            proxy.wait_ready()
            if capacity:
                asyncio.run(saturate(proxy.port, pods * int(parameters["max-num-seqs"]), warm, make, 1))
                return asyncio.run(saturate(proxy.port, pods * int(parameters["max-num-seqs"]), seconds, make, 2))
            asyncio.run(run(proxy.port, rate, warm, make, 1))
            before, began = cpu(proxy.pid), time.perf_counter()
            outcomes = asyncio.run(run(proxy.port, rate, seconds, make, 2))
            cores = (cpu(proxy.pid) - before) / (time.perf_counter() - began)
        finally:
            proxy.close()
            servers.close()
            ports.close()
    good = [o for o in outcomes if o.status == 200 and o.tokens]
    prompt = sum(o.prompt for o in good)
    return {
        "requests": len(outcomes),
        "failed": len(outcomes) - len(good),
        "ttft_ms": {f"p{int(p * 100)}": round(share([o.first for o in good], p) * 1000, 1) for p in (0.5, 0.9, 0.99)},
        "end_to_end_ms": {f"p{int(p * 100)}": round(share([o.whole for o in good], p) * 1000) for p in (0.5, 0.9, 0.99)},
        "tokens_per_second": round(sum(o.tokens for o in good) / seconds),
        "cached_share": round(sum(o.cached for o in good) / prompt, 3) if prompt else None,
        "proxy_cores": round(cores, 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--warm", type=float, default=20)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    parser.add_argument("--pickers", nargs="+", default=PICKERS, choices=PICKERS)
    parser.add_argument("--halve", metavar="PARAMETER")
    parser.add_argument("--double", metavar="PARAMETER")
    parser.add_argument("--results", type=pathlib.Path, help="a folder; inference.json there gets the figures")
    options = parser.parse_args()
    parameters = json.loads((pathlib.Path(__file__).parent / "parameters.json").read_text())
    parameters.pop("comment")
    for name, factor in ((options.halve, 0.5), (options.double, 2)):
        if name:
            parameters[name] = type(parameters[name])(parameters[name] * factor)
    results = {"date": datetime.date.today().isoformat(), "pods": options.pods, "parameters": parameters, "scenarios": {}}
    results["machine"] = f"{os.cpu_count()} cores, servers, proxy and load on the same ones"
    for name in options.scenario or SCENARIOS:
        make = SCENARIOS[name]
        capacity = measure("round robin", parameters, options.pods, make, 0, options.seconds / 2, options.warm / 2, capacity=True)
        rate = 0.8 * capacity
        print(f"{name}: round robin serves {capacity:.1f} requests/s; load {rate:.1f}/s", flush=True)
        of = results["scenarios"].setdefault(name, {"capacity": round(capacity, 2), "rate": round(rate, 2), "pickers": {}})
        for picker in options.pickers:
            found = measure(picker, parameters, options.pods, make, rate, options.seconds, options.warm)
            of["pickers"][picker] = found
            ttft = found["ttft_ms"]
            print(f"  {picker:16} TTFT p50 {ttft['p50']:8.1f} p90 {ttft['p90']:8.1f} p99 {ttft['p99']:8.1f} ms, cached {found['cached_share']}, proxy {found['proxy_cores']} cores, failed {found['failed']}", flush=True)
    if options.results:
        version = subprocess.run([os.environ["AGENTGATEWAY_BIN"], "--version"], capture_output=True, text=True).stdout.strip()
        results["version"] = version
        (options.results / "inference.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
