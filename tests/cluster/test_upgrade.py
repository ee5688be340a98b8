"""An upgrade from an earlier state's charts under load, the way back, and the end of it all.

The earlier programs themselves are not built: that would take CI as long as building today's. Today's images play their part
under another tag, with the rights that today's chart gives them. So the charts' objects, the definitions and the replacement of
every pod are tested here; that each program works with the other one release older is tested in tests/discovery.
"""

import time
from pathlib import Path

import pytest
import yaml
from conftest import left, remove
from load import Load
from testcluster import CHARTS, CONTROLPLANE, NAMESPACE, ROOT, TESTCLUSTER, run, wait_for

EARLIER = ROOT / "tests" / "deploy" / "earlier"
PROGRAMS = ["agentgateway", "agentgateway-controlplane"]
TAG = "earlier"
VERSION = yaml.safe_load((CHARTS / "agentgateway" / "Chart.yaml").read_text())["appVersion"]
BORROWED = "borrowed-rights"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def web(cluster):
    """The earlier charts with an application, and its address."""
    for program in PROGRAMS:
        image = f"agentgateway.dev/{program}"
        tag = ["ctr", "-n", "k8s.io", "images", "tag", "--force"]
        run(TESTCLUSTER, "exec", cluster.name, *tag, f"{image}:{VERSION}", f"{image}:{TAG}")
    try:
        borrow_rights(cluster)
        cluster.install(f"image.tag={TAG}", charts=EARLIER)
        cluster.apply(Path(__file__).parent / "faults.yaml")
        cluster.rollout("web", "echo", "one", "two")
        yield cluster.programmed("web", "web")
    finally:
        remove(cluster)
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", BORROWED, "--ignore-not-found")


def borrow_rights(cluster):
    """Gives the earlier control plane's account what today's program asks for."""
    manifests = yaml.safe_load_all(cluster.helm("template", "agentgateway", CHARTS / "agentgateway", "-n", NAMESPACE))
    for manifest in manifests:
        if manifest and manifest["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            manifest["metadata"] = {"name": BORROWED}
            if "roleRef" in manifest:
                manifest["roleRef"]["name"] = BORROWED
            cluster.apply(yaml.safe_dump(manifest))


def tags(cluster):
    """The tags that the control plane's and the proxies' pods run."""
    pods = cluster.get("pods", "-A", "-l", "app.kubernetes.io/managed-by in (Helm,agentgateway)")["items"]
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {container["image"].rsplit(":", 1)[1] for pod in alive for container in pod["spec"]["containers"]}


def under_load(address, change):
    echo = {"message": "x"}
    with Load(address, plain_per_second=100, mcp=[("MCP server", "/one", "echo", echo, 25)]) as load:
        time.sleep(2)
        change()
        # Connections to proxies that were replaced have this long to end.
        time.sleep(8)
    for stream in load.streams:
        assert stream.succeeded > 100, f"too little load to show anything: {stream}"
        assert not stream.failures, f"{stream}: {stream.failures[:3]}"


def replaced(cluster, change, by):
    def all_of_it():
        change()
        wait_for("all pods", lambda: tags(cluster) == by, 60)
        cluster.rollout(NAMESPACE, CONTROLPLANE)
        cluster.rollout("web", "web")

    return all_of_it


def test_an_upgrade_under_load_fails_nothing(cluster, web):
    assert tags(cluster) == {TAG}
    ca = cluster.get("secret", "agentgateway-xds-ca", "-n", NAMESPACE)["data"]
    under_load(web, replaced(cluster, cluster.install, {VERSION}))
    assert cluster.get("secret", "agentgateway-xds-ca", "-n", NAMESPACE)["data"] == ca
    assert cluster.get("crd", "gatewayparameters.gateway.kgateway.dev")["status"]["acceptedNames"]["kind"]
    assert cluster.programmed("web", "web") == web


def test_the_way_back_under_load_fails_nothing(cluster, web):
    under_load(web, replaced(cluster, cluster.rollback, {TAG}))
    assert cluster.programmed("web", "web") == web


def test_nothing_is_left_in_the_end(cluster, web):
    remove(cluster)
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", BORROWED)
    wait_for("nothing is left", lambda: left(cluster) == [], seconds=60)
