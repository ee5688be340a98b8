#!/usr/bin/env python3
"""Runs the official Gateway API conformance suite on a test cluster of its own, and says how far it is.

    conformance/run.py                    every test of the features that our GatewayClass claims; writes conformance/reports
    conformance/run.py --check            the same without writing the reports
    conformance/run.py --tests A,B        these tests, whatever is claimed
    conformance/run.py --smoke            those of conformance/suite/smoke.txt
    conformance/run.py --channel CHANNEL  with the definitions of this channel of the Gateway API (standard)
    conformance/run.py --cluster NAME     on a cluster that is kept, with the charts upgraded to this state

Everything that the suite writes is in build/conformance, and of each failed test its log, objects and the proxies' logs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy"))

from testcluster import BUILD, NAMESPACE, TESTCLUSTER, Cluster, CommandFailed, run  # noqa: E402

SUITE = BUILD / "bin" / "conformance.test"
WORK = BUILD / "conformance"
REPORTS = ROOT / "conformance" / "reports"
PROFILES = ["GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP"]
IMAGES = ["agentgateway", "agentgateway-controlplane", "echo-basic", "coredns"]
# The suite wants all definitions of one channel. Retries are in the experimental one alone.
CHANNELS = ["standard", "experimental"]
MODE = "default"
TOP = "TestConformance"
# What the class asks for each proxy: by default a tenth of a processor, and the suite has twenty proxies at a time.
PARAMETERS = f"""
apiVersion: gateway.kgateway.dev/v1alpha1
kind: GatewayParameters
metadata: {{name: small, namespace: {NAMESPACE}}}
spec: {{kube: {{agentgateway: {{resources: {{requests: {{cpu: 10m, memory: 16Mi}}, limits: {{memory: 512Mi}}}}}}}}}}
"""
# Tests that may run at the same time: they wait more than they work.
PARALLEL = 6
begin = time.monotonic()


def say(text):
    print(f"{time.monotonic() - begin:6.1f} s  {text}", flush=True)


def version():
    chart = yaml.safe_load((ROOT / "deploy/charts/agentgateway/Chart.yaml").read_text())
    return "v" + chart["appVersion"]


def addresses(cluster):
    """An address that the cluster's load balancer can give, and one that it cannot (reserved for documentation)."""
    for line in run(TESTCLUSTER, "list").splitlines()[1:]:
        words = line.split()
        if words[0] == cluster.name:
            return words[3].rsplit(".", 1)[0] + ".200", "192.0.2.1"
    raise CommandFailed(f"testcluster list does not know {cluster.name}")


def flags(cluster, tests, report):
    usable, unusable = addresses(cluster)
    given = {
        "gateway-class": "agentgateway",
        "conformance-profiles": ",".join(PROFILES),
        "usable-address": usable,
        "unusable-address": unusable,
        "report-output": report,
        "organization": "agentgateway",
        "project": "agentgateway",
        "url": "https://agentgateway.dev",
        "version": version(),
        "contact": "https://agentgateway.dev",
        "mode": MODE,
        "diagnoses": WORK / "failed",
    }
    if tests:
        given["tests"] = ",".join(tests)
    return [f"--{name}={value}" for name, value in given.items()]


class Progress:
    """Follows the suite's events: a line for each test that ends, a log for each that fails."""

    def __init__(self):
        self.total = "?"
        self.results = {}
        self.logs = {}

    def take(self, event):
        test, action = event.get("Test", ""), event["Action"]
        name = test.split("/")[1] if "/" in test else ""
        if action == "output":
            text = event["Output"]
            if text.strip().endswith(" tests") and not name:
                self.total = text.split()[0]
            self.logs.setdefault(name, []).append(text)
        elif action in ("pass", "fail", "skip") and test == f"{TOP}/{name}":
            self.results[name] = action
            log = self.logs.pop(name, [])
            if action != "skip":
                say(f"{len(self.results):4}/{self.total} {action} {event.get('Elapsed', 0):6.1f} s  {name}")
            if action == "fail":
                folder = WORK / "failed" / name
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "test.log").write_text("".join(log))
                print("".join(f"                 {line}" for line in reasons(log)), end="", flush=True)

    def of(self, action):
        return sorted(name for name, result in self.results.items() if result == action)


def reasons(log):
    """The lines that say what was wrong; where a test gives none, its last ones."""
    marked = [line for line in log if any(mark in line for mark in ("Error:", "Messages:", "panic:"))]
    return (marked or log)[-6:]


def suite(cluster, tests, report):
    """Runs the suite; returns what became of each test, and whether the suite itself ended well."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "NO_PROXY": "*"}
    command = [SUITE, "-test.v=test2json", "-test.timeout=90m", f"-test.parallel={PARALLEL}", "-test.run", TOP]
    progress = Progress()
    with open(WORK / "suite.log", "w") as log:
        test = subprocess.Popen(
            [*command, *flags(cluster, tests, report)],
            env=environment,
            cwd=WORK,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        events = subprocess.Popen(["go", "tool", "test2json", "-t"], stdin=test.stdout, stdout=subprocess.PIPE, text=True)
        test.stdout.close()
        try:
            for line in events.stdout:
                event = json.loads(line)
                log.write(event.get("Output", ""))
                progress.take(event)
        finally:
            test.terminate()
            code = test.wait()
            events.wait()
    return progress, code == 0


def setup_failed(cluster, progress):
    """What is to be known when the suite ended before its first test."""
    print("".join(progress.logs.get("", [])[-30:]))
    for words in (["get", "gatewayclasses,gateways,pods", "-A", "-o", "wide"], ["get", "events", "-A"]):
        print("\n".join(cluster.kubectl(*words).splitlines()[-60:]))


def result(status):
    skipped = f", {status['statistics']['Skipped']} skipped" if status["statistics"]["Skipped"] else ""
    return f"{status['result']}: {status['statistics']['Passed']} passed, {status['statistics']['Failed']} failed{skipped}"


def summary(reports):
    """The reports for people, in the form that the Gateway API asks of implementations."""
    lines = [
        "# Gateway API conformance",
        "",
        "Written by `make conformance`: the official suite on a real cluster.",
        "",
        "| API channel | Implementation version | Mode | Report |",
        "|---|---|---|---|",
    ]
    for file, report in reports.items():
        version, mode = report["implementation"]["version"], report["mode"]
        lines.append(f"| {report['gatewayAPIChannel']} | {version} | {mode} | [{version} report](./{file}) |")
    for report in reports.values():
        lines += ["", f"## Gateway API {report['gatewayAPIVersion']}, {report['gatewayAPIChannel']} channel", ""]
        lines += ["| Profile | Core | Extended | Extended features |", "|---|---|---|---|"]
        profiles = sorted(report["profiles"], key=lambda profile: PROFILES.index(profile["name"]))
        for profile in profiles:
            extended = profile.get("extended", {})
            supported, lacking = extended.get("supportedFeatures", []), extended.get("unsupportedFeatures", [])
            count = f"{len(supported)} of {len(supported) + len(lacking)}" if extended else ""
            extended = result(extended) if extended else ""
            lines.append(f"| {profile['name']} | {result(profile['core'])} | {extended} | {count} |")
        for title, key in (("Features that are not supported", "unsupportedFeatures"), ("Failed", "failedTests")):
            parts = [part for profile in profiles for part in (profile.get("extended", {}), profile["core"])]
            names = sorted({name for part in parts for name in part.get(key) or []})
            if names:
                lines += ["", f"{title}: {', '.join(names)}."]
    reproduce = ["    make conformance", "    make conformance CHANNEL=experimental"]
    return "\n".join([*lines, "", "## Reproduce", "", *reproduce, ""])


def publish(report):
    given = yaml.safe_load(report.read_text())
    file = f"{given['gatewayAPIChannel']}-{given['implementation']['version']}-{given['mode']}-report.yaml"
    REPORTS.mkdir(exist_ok=True)
    shutil.copyfile(report, REPORTS / file)
    (REPORTS / file).chmod(0o644)
    files = sorted(REPORTS.glob("*-report.yaml"), reverse=True)
    text = summary({path.name: yaml.safe_load(path.read_text()) for path in files})
    (REPORTS / "README.md").write_text(text)
    print(text)
    say(f"written: conformance/reports/{file}")


def conform(cluster, channel, tests, write):
    """Whether every test that ran passed, and each that was asked for ran."""
    say(f"cluster {cluster.name}, Gateway API ({channel} channel), images")
    cluster.up(images=IMAGES, channel=channel)
    say("charts")
    cluster.install("gatewayClass.parametersRef.name=small", f"gatewayClass.parametersRef.namespace={NAMESPACE}")
    cluster.apply(PARAMETERS)
    # On a cluster that was kept, the image may be new behind the same name.
    cluster.restart()
    say("suite: base objects and their pods, then tests")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    report = WORK / "report.yaml"
    progress, ended_well = suite(cluster, tests, report)
    if not progress.results:
        setup_failed(cluster, progress)
    failed, skipped = progress.of("fail"), progress.of("skip")
    say(f"{len(progress.of('pass'))} passed, {len(failed)} failed, {len(skipped)} of features that are not claimed")
    for name in failed:
        print(f"FAILED {name}: build/conformance/failed/{name}")
    if write and report.exists():
        publish(report)
    return ended_well and bool(progress.results) and not (tests and skipped)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--tests", help="comma-separated names")
    choice.add_argument("--smoke", action="store_true", help="the tests of conformance/suite/smoke.txt")
    choice.add_argument("--check", action="store_true", help="all tests, but no report")
    parser.add_argument("--channel", choices=CHANNELS, default=CHANNELS[0])
    parser.add_argument("--cluster", help="name of a cluster to use and to keep")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("conformance/run.py: a cluster needs root")
    tests = given.tests.split(",") if given.tests else []
    if given.smoke:
        lines = (ROOT / "conformance/suite/smoke.txt").read_text().splitlines()
        tests = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    cluster = Cluster(given.cluster or f"conformance-{os.getpid()}")
    try:
        return 0 if conform(cluster, given.channel, tests, not tests and not given.check) else 1
    finally:
        if not given.cluster:
            cluster.down()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandFailed as error:
        sys.exit(str(error))
