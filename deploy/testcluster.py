#!/usr/bin/env python3
"""A test cluster with agentgateway on it: starts one, loads images, installs the charts; also a library for tests.

    deploy/testcluster.py up NAME        cluster, Gateway API, images, charts; safe to repeat
    deploy/testcluster.py down NAME      removes it
"""

import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
CHARTS = ROOT / "deploy" / "charts"
TESTCLUSTER = BUILD / "bin" / "testcluster"
KUBE = BUILD / "bin" / "kube"
# Images of the two programs, of the servers that examples route to, and of the client that tests run in pods.
IMAGES = ["agentgateway", "agentgateway-controlplane", "mcp-everything", "echo-basic", "python-mcp"]
NAMESPACE = "kgateway-system"
RELEASE, CRDS_RELEASE = "agentgateway", "agentgateway-crds"
CONTROLPLANE = "agentgateway-controlplane"


class CommandFailed(Exception):
    """A command that ended with an error; its text is what the command wrote."""


def run(*command, stdin=None, timeout=180):
    """Runs a command and returns what it wrote to standard output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Cluster:
    """One test cluster by its name."""

    def __init__(self, name):
        self.name = name
        self.kubeconfig = BUILD / "clusters" / name / "kubeconfig"

    def up(self, images=IMAGES, channel="experimental"):
        """Starts the cluster, or what is missing of it, with images and a channel of the Gateway API, if any."""
        missing = [f"build/images/{image}.tar" for image in images if not (BUILD / "images" / f"{image}.tar").exists()]
        if missing:
            raise CommandFailed(f"missing: {', '.join(missing)}; `make images` makes them")
        run(TESTCLUSTER, "up", self.name)
        if channel:
            self.kubectl("apply", "--server-side", "-f", BUILD / "crds" / channel)
        run(TESTCLUSTER, "load", self.name, *(BUILD / "images" / f"{image}.tar" for image in images))

    def down(self):
        """Removes the cluster; that there is none is no error."""
        run(TESTCLUSTER, "down", self.name)

    def kubectl(self, *words, stdin=None, timeout=180):
        return run(KUBE, "kubectl", "--kubeconfig", self.kubeconfig, *words, stdin=stdin, timeout=timeout)

    def helm(self, *words):
        return run(KUBE, "helm", "--kubeconfig", self.kubeconfig, *words)

    def get(self, *words):
        """What `kubectl get` gives, as data."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def apply(self, manifest):
        """Applies a file (a path) or a text."""
        if isinstance(manifest, Path):
            return self.kubectl("apply", "--server-side", "-f", manifest)
        return self.kubectl("apply", "--server-side", "-f", "-", stdin=manifest)

    def delete(self, manifest):
        """Deletes the objects of a file and waits until they are gone."""
        return self.kubectl("delete", "--ignore-not-found", "-f", manifest)

    def rollout(self, namespace, *deployments, seconds=90):
        for deployment in deployments:
            self.kubectl("-n", namespace, "rollout", "status", f"deployment/{deployment}", "--timeout", f"{seconds}s")

    def restricted_namespace(self, name):
        """A namespace that refuses pods which do not keep to the restricted Pod Security level."""
        self.apply(
            f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"
            "  labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
        )

    def install(self, *values, charts=CHARTS):
        """Installs or upgrades both charts, those of this state or others, and waits for the control plane."""
        self.restricted_namespace(NAMESPACE)
        flags = [word for value in values for word in ("--set", value)]
        common = ["--namespace", NAMESPACE, "--wait", "--timeout", "120s"]
        self.helm("upgrade", "--install", CRDS_RELEASE, charts / "agentgateway-crds", *common)
        self.helm("upgrade", "--install", RELEASE, charts / "agentgateway", *common, *flags)

    def rollback(self):
        """Takes both charts back to their first revisions: the programs first, then the kinds that they know."""
        for release in (RELEASE, CRDS_RELEASE):
            self.helm("rollback", release, "1", "--namespace", NAMESPACE, "--wait", "--timeout", "120s")

    def uninstall(self):
        """Removes what `install` made, but for the namespace."""
        for release in (RELEASE, CRDS_RELEASE):
            self.helm("uninstall", release, "--namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout", "60s")

    def restart(self):
        """Replaces the control plane's pods, as new images behind old names need it."""
        self.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{CONTROLPLANE}")
        self.rollout(NAMESPACE, CONTROLPLANE)

    def pods(self, namespace, selector):
        """Names of the pods that are not on their way out."""
        pods = self.get("pods", "-n", namespace, "-l", selector)["items"]
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def condition(self, kind, namespace, name, condition):
        """The condition of an object, or an empty one."""
        status = self.get(kind, name, *(["-n", namespace] if namespace else [])).get("status", {})
        parents = status.get("parents", []) + status.get("ancestors", [])
        parents = [entry for parent in parents for entry in parent.get("conditions", [])]
        found = [c for c in status.get("conditions", []) + parents if c["type"] == condition]
        return found[0] if found else {}

    def programmed(self, namespace, gateway, seconds=90):
        """Waits for a Gateway and its proxy; returns its address."""
        self.kubectl("-n", namespace, "wait", "--for=condition=Programmed", f"gateway/{gateway}", f"--timeout={seconds}s")
        self.rollout(namespace, gateway)
        return self.get("gateway", gateway, "-n", namespace)["status"]["addresses"][0]["value"]

    def kill(self, namespace, pod, container):
        """SIGKILLs the first process of a container."""
        run(TESTCLUSTER, "kill", self.name, namespace, pod, container)


def wait_for(what, check, seconds=30, pause=0.1):
    """Calls `check` until it returns something true; an assertion or a failed command counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = check()
            reason = repr(found)
            if found:
                return found
        except (AssertionError, CommandFailed, OSError) as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s: {reason}")
        time.sleep(pause)


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in ("up", "down"):
        sys.exit(__doc__)
    cluster = Cluster(arguments[1])
    if arguments[0] == "down":
        cluster.down()
        return
    begin = time.monotonic()
    for what, step in (("cluster, Gateway API, images", cluster.up), ("charts", cluster.install)):
        print(f"{time.monotonic() - begin:6.1f} s  {what} ...", flush=True)
        step()
    print(f"{time.monotonic() - begin:6.1f} s  ready: export KUBECONFIG={cluster.kubeconfig}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CommandFailed as error:
        sys.exit(str(error))
