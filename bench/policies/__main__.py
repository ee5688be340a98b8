"""Policies, measured: python3 -m bench.policies [--results FOLDER]

What each costs a request, and how limits, breakers and ejection hold under load. Fails where ten policies together cost more
than 15 µs, or where a figure is not what the policy promises. AGENTGATEWAY_BIN is the proxy of the second part."""

import argparse
import json
import os
import pathlib
import platform
import shlex
import sys
import time

from . import correctness, cost


def main():
    parser = argparse.ArgumentParser(prog="bench.policies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="ci", help="cargo profile of the first part")
    parser.add_argument("--results", type=pathlib.Path, help="folder to write policies.json and .md to")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    costs, failures = cost.run(shlex.split(os.environ.get("CARGO", "cargo")), arguments.profile)
    found, more = correctness.run()
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "command": "make bench-policies",
        "profile": arguments.profile,
        "load_average_before": round(load_before, 2),
        "cost": costs,
        "correctness": found,
        "failures": failures + more,
    }
    if arguments.results:
        (arguments.results / "policies.json").write_text(json.dumps(result, indent=2) + "\n")
        (arguments.results / "policies.md").write_text(text(result))
    sys.exit("\n".join(failures + more) or None)


def text(result: dict) -> str:
    return f"""# Policies: cost per request, and how they hold

{result["date"]}, {result["machine"]}, load {result["load_average_before"]} before, `{result["command"]}`, profile {result["profile"]}

## Cost

One request on its way to the backend and its response on the way back through one chain, on one core, without a network; the time and
the allocations of the policy alone. Ten policies together (CORS, request limits, CSRF, JWT, a rule on a claim and a header, concurrency limit, rate
limit, a transformation of two headers each way, response headers, URL rewrite) may cost 15 µs.

{cost.report(result["cost"])}

## Correctness under concurrency

{correctness.report(result["correctness"])}
"""


if __name__ == "__main__":
    main()
