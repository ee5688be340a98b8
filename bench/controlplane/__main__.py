"""The control plane on a cluster, measured: python3 -m bench.controlplane CLUSTER [TEST...]

Replays what independent benchmarks of Gateway API implementations ask, on a cluster with the charts installed. Without
TEST all of them run, which takes about a quarter of an hour."""

import argparse
import json
import os
import pathlib
import platform
import sys
import time

from . import attached_routes, listener_sets, new_routes, one_hostname, route_changes, route_probe, route_scale
from .setup import Bench

TESTS = {
    "new-routes": new_routes,
    "attached-routes": attached_routes,
    "route-probe": route_probe,
    "route-changes": route_changes,
    "route-scale": route_scale,
    "one-hostname": one_hostname,
    "listener-sets": listener_sets,
}


def main():
    parser = argparse.ArgumentParser(prog="bench.controlplane", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cluster", help="name of a cluster with the charts installed (make cluster-up)")
    parser.add_argument("tests", nargs="*", metavar="TEST", help=", ".join(TESTS))
    parser.add_argument("--scale", type=int, default=1, help="multiplies the number of objects where a test has many")
    parser.add_argument("--profile", default="release", help="cargo profile of the images, for the report")
    parser.add_argument("--results", type=pathlib.Path, help="folder to write controlplane.json and .md to")
    arguments = parser.parse_args()
    unknown = set(arguments.tests) - set(TESTS)
    if unknown:
        parser.error(f"there is no test {', '.join(sorted(unknown))}; there are {', '.join(TESTS)}")
    bench = Bench(arguments.cluster)
    results = load(arguments.results)
    failed = []
    for name in arguments.tests or TESTS:
        test = TESTS[name]
        bench.say(f"{name}: {test.__doc__}")
        load_before = os.getloadavg()[0]
        result, failures = test.run(bench, arguments.scale)
        results[name if arguments.scale == 1 else f"{name} x{arguments.scale}"] = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
            "profile": arguments.profile,
            "load_average_before": round(load_before, 2),
            "failures": failures,
            "figures": result,
        }
        print(f"\n{test.report(result)}\n", flush=True)
        failed += [f"{name}: {failure}" for failure in failures]
        save(arguments.results, results)
    if failed:
        sys.exit("\n".join(failed))


def load(folder):
    path = folder and folder / "controlplane.json"
    return json.loads(path.read_text()) if path and path.exists() else {}


def save(folder, results):
    if not folder:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "controlplane.json").write_text(json.dumps(results, indent=2) + "\n")
    # Read back, so that figures of this run and of earlier ones have keys of one type.
    read = json.loads((folder / "controlplane.json").read_text())
    parts = ["# Control plane: how soon a change is served, and at which cost", "`make bench-controlplane`: a one-node cluster on the machine that runs the test too, backends beside it."]
    for name, result in read.items():
        test = TESTS[name.split(" ")[0]]
        parts.append(f"## {name}")
        parts.append(test.__doc__)
        parts.append(f"{result['date']}, {result['machine']}, {result['profile']} profile, load before {result['load_average_before']}.")
        parts.append(test.report(result["figures"]))
        if result["failures"]:
            parts.append("Not reached: " + "; ".join(result["failures"]) + ".")
    (folder / "controlplane.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
