"""What each policy costs a request, in nanoseconds and allocations, measured in one process without a network."""

import json
import subprocess
import sys

TOGETHER = "ten policies together"
MOST_NANOSECONDS = 15_000


def run(cargo: list[str], profile: str) -> tuple[dict, list[str]]:
    command = [*cargo, "bench", "--quiet", "-p", "agentgateway-policy", "--profile", profile, "--bench", "policies"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bench:
        lines = []
        for line in bench.stdout:
            lines.append(line)
            if not line.startswith("["):
                print(line, end="", flush=True)
    if bench.returncode:
        sys.exit(f"{' '.join(command)} failed")
    figures = json.loads(next(line for line in lines if line.startswith("[")))
    together = next(figure for figure in figures if figure["policy"] == TOGETHER)["nanoseconds"]
    failures = [f"{TOGETHER} cost {together} ns"] if together > MOST_NANOSECONDS else []
    return {"policies": figures}, failures


def report(result: dict) -> str:
    rows = [f"| {f['policy']} | {f['nanoseconds'] / 1000:.2f} | {f['allocations']:.1f} |" for f in result["policies"]]
    return "\n".join(["| Policy | µs per request | allocations |", "|---|---|---|", *rows])
