"""Nothing fails while the API server is gone, and what changes after its return is noticed soon.

The last of the cluster's tests, and it leaves everything where it is: Kubernetes' own controllers take a minute to find their
way after such a fault, and nobody is to wait for them.
"""

import os
import time

import pytest
from conftest import remove
from test_faults import BEFORE, HERE, SECONDS, load, nothing_failed, route, status, until
from testcluster import NAMESPACE, TESTCLUSTER, run, wait_for

pytestmark = pytest.mark.timeout(240 + 3 * SECONDS)


@pytest.fixture
def web(cluster):
    cluster.install()
    cluster.apply(HERE / "faults.yaml")
    cluster.rollout("web", "echo", "one", "two")
    address = cluster.programmed("web", "web")
    for path in ("/", "/one", "/two"):
        wait_for(f"{path} is served", lambda path=path: status(address, path) not in (None, 404, 500, 503))
    yield address
    if os.environ.get("AGENTGATEWAY_CLUSTER"):
        remove(cluster)


def test_nothing_fails_while_the_api_server_is_gone(cluster, web):
    """Proxies and control plane go on with what they know, and catch up with what comes after."""
    begin = time.monotonic()
    with load(web) as running:
        until(begin, BEFORE)
        run(TESTCLUSTER, "stop", cluster.name, "kube-apiserver")
        gone = time.monotonic()
        until(gone, SECONDS)
        run(TESTCLUSTER, "up", cluster.name)
        print(f"API server away for {time.monotonic() - gone:.1f} s")
        wait_for("the API server takes a route", lambda: cluster.apply(route("after", "/after")))
        # Watches are tried again each 5 s at most.
        wait_for("the change is live", lambda: status(web, "/after") == 301, seconds=10)

        def accepted():
            return cluster.condition("httproute", "web", "after", "Accepted").get("status") == "True"

        wait_for("its status", accepted, seconds=15)
    nothing_failed(running)
    restarts = [
        container["restartCount"]
        for pod in cluster.get("pods", "-n", NAMESPACE)["items"]
        for container in pod["status"]["containerStatuses"]
    ]
    assert restarts == [0], "the control plane did not live through it"
