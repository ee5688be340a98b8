"""What fails, and for how long, when a part is killed under load: 150 plain requests and 50 tool calls a second through
the Gateway's address. AGENTGATEWAY_FAULT_SECONDS says how long each test loads the gateway."""

import os
import socket
import time
from pathlib import Path

import pytest
from testcluster import CONTROLPLANE, NAMESPACE, TESTCLUSTER, run, wait_for
from load import Load

HERE = Path(__file__).parent
SECONDS = float(os.environ.get("AGENTGATEWAY_FAULT_SECONDS", "20"))
# Before the fault, so that all connections and sessions are there.
BEFORE = 3

pytestmark = pytest.mark.timeout(240 + 3 * SECONDS)


@pytest.fixture(scope="module")
def address(installed):
    installed.apply(HERE / "faults.yaml")
    installed.rollout("web", "echo", "one", "two")
    address = installed.programmed("web", "web")
    for path in ("/", "/one", "/two"):
        wait_for(f"{path} is served", lambda path=path: status(address, path) not in (None, 404, 500, 503))
    return address


@pytest.fixture(autouse=True)
def whole(cluster, address):
    """Each test begins with everything in its place."""
    cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{CONTROLPLANE}", "--replicas=1")
    cluster.rollout(NAMESPACE, CONTROLPLANE)
    cluster.rollout("web", "web", "one", "two", "echo")


def status(address, path):
    """Status of one plain GET, or None."""
    try:
        with socket.create_connection((address, 80), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            return int(connection.recv(64).split()[1])
    except (OSError, IndexError):
        return None


def load(address):
    echo = {"message": "x"}
    return Load(address, mcp=[("MCP server one", "/one", "echo", echo, 25), ("MCP server two", "/two", "echo", echo, 25)])


def until(begin, seconds):
    time.sleep(max(0, begin + seconds - time.monotonic()))


def nothing_failed(running):
    enough = SECONDS * 0.8
    for stream, rate in zip(running.streams, (75, 75, 25, 25)):
        assert stream.succeeded >= rate * enough, f"too little load to show anything: {stream}"
        assert not stream.failures, f"{stream}: {stream.failures[:3]}"


def without_controlplane(cluster):
    """Kills the control plane at once, as a failing node would, and keeps it away."""
    cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{CONTROLPLANE}", "--replicas=0")
    selector = "app.kubernetes.io/component=controlplane"
    cluster.kubectl("-n", NAMESPACE, "delete", "pods", "-l", selector, "--grace-period=0", "--force", "--ignore-not-found")
    wait_for("no control plane", lambda: not cluster.pods(NAMESPACE, selector))


def route(name, path):
    return (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
        f"metadata: {{name: {name}, namespace: web}}\nspec:\n  parentRefs: [{{name: web}}]\n  rules:\n"
        f"  - matches: [{{path: {{type: Exact, value: {path}}}}}]\n"
        "    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, hostname: moved.example}}]\n"
    )


def test_nothing_fails_while_the_control_plane_is_gone_and_what_changed_meanwhile_comes(cluster, address):
    begin = time.monotonic()
    with load(address) as running:
        until(begin, BEFORE)
        without_controlplane(cluster)
        cluster.apply(route("meanwhile", "/meanwhile"))
        until(begin, SECONDS - 8)
        assert status(address, "/meanwhile") == 200, "nobody should have told the proxy"
        cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{CONTROLPLANE}", "--replicas=1")
        cluster.rollout(NAMESPACE, CONTROLPLANE)
        wait_for("the change is live", lambda: status(address, "/meanwhile") == 301, seconds=5)
        until(begin, SECONDS)
    nothing_failed(running)


def test_a_killed_proxy_serves_again_without_a_control_plane(cluster, address):
    selector = "gateway.networking.k8s.io/gateway-name=web"
    begin = time.monotonic()
    with load(address) as running:
        until(begin, BEFORE)
        without_controlplane(cluster)
        (pod,) = cluster.pods("web", selector)
        killed = time.monotonic()
        cluster.kill("web", pod, "agent-gateway")
        print(f"killed at {killed:.1f}")
        until(begin, SECONDS)
    assert cluster.pods("web", selector) == [pod], "the pod is another"
    for stream in running.streams:
        assert stream.failures, f"the kill was not noticed: {stream}"
        late = stream.since(killed + 5)
        assert not late, f"{stream}: {len(late)} more than 5 s after the kill: {late[:3]}"
        assert stream.first_after(killed + 5), f"{stream}: no answer after 5 s"
        assert not [failure for at, failure in stream.failures if at < killed]
    (pod,) = cluster.get("pods", "-n", "web", "-l", selector)["items"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] >= 1


def test_only_the_calls_of_a_killed_mcp_server_fail(cluster, address):
    begin = time.monotonic()
    with load(address) as running:
        until(begin, BEFORE)
        (pod,) = cluster.pods("web", "app=two")
        ip = cluster.get("pod", pod, "-n", "web")["status"]["podIP"]
        killed = time.monotonic()
        cluster.kill("web", pod, "server")
        wait_for("it is gone", lambda: not listens(ip), pause=0.01)
        returned = wait_for("it is back", lambda: listens(ip) and time.monotonic(), pause=0.01)
        until(begin, SECONDS)
    for stream in (running.new, running.kept, running.mcp["MCP server one"]):
        assert not stream.failures, f"{stream}: {stream.failures[:3]}"
    own = running.mcp["MCP server two"]
    assert own.failures, "its calls should have failed"
    assert not [failure for at, failure in own.failures if at < killed]
    late = own.since(returned + 2)
    assert not late, f"{len(late)} more than 2 s after its return: {late[:3]}"
    assert own.first_after(returned + 2)
    print(f"MCP server away for {returned - killed:.1f} s; first answer after {own.first_after(returned) - returned:.2f} s")


def listens(ip):
    try:
        socket.create_connection((ip, 3000), timeout=0.5).close()
        return True
    except OSError:
        return False


def test_a_rolling_update_of_the_proxy_fails_nothing(cluster, address):
    selector = "gateway.networking.k8s.io/gateway-name=web"
    begin = time.monotonic()
    before = cluster.pods("web", selector)
    with load(address) as running:
        until(begin, BEFORE)
        cluster.kubectl("-n", "web", "rollout", "restart", "deployment/web")
        cluster.rollout("web", "web")
        until(begin, max(SECONDS, time.monotonic() - begin + 12))
    assert not set(before) & set(cluster.pods("web", selector))
    nothing_failed(running)


def test_nothing_fails_while_the_api_server_is_gone(cluster, address):
    """Proxies and control plane go on with what they know, and catch up with what comes after."""
    begin = time.monotonic()
    with load(address) as running:
        until(begin, BEFORE)
        run(TESTCLUSTER, "stop", cluster.name, "kube-apiserver")
        gone = time.monotonic()
        until(gone, SECONDS)
        run(TESTCLUSTER, "up", cluster.name)
        print(f"API server away for {time.monotonic() - gone:.1f} s")
        wait_for("the API server takes a route", lambda: cluster.apply(route("after", "/after")))
        # Watches begin again with a growing pause, of 30 s at most.
        wait_for("the change is live", lambda: status(address, "/after") == 301, seconds=35)

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


def test_the_second_control_plane_takes_over_when_the_leader_is_killed(cluster, address):
    cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{CONTROLPLANE}", "--replicas=2")
    cluster.rollout(NAMESPACE, CONTROLPLANE)

    def leader():
        holder = cluster.get("lease", CONTROLPLANE, "-n", NAMESPACE)["spec"].get("holderIdentity")
        return holder if holder in cluster.pods(NAMESPACE, "app.kubernetes.io/component=controlplane") else None

    first = wait_for("somebody leads", leader)
    begin = time.monotonic()
    with load(address) as running:
        until(begin, BEFORE)
        cluster.kubectl("-n", NAMESPACE, "delete", "pod", first, "--grace-period=0", "--force")
        cluster.apply(route("taken-over", "/taken-over"))
        wait_for("the change is live", lambda: status(address, "/taken-over") == 301, seconds=5)

        def accepted():
            return cluster.condition("httproute", "web", "taken-over", "Accepted").get("status") == "True"

        wait_for("the new leader writes statuses", accepted, seconds=15)
        assert leader() != first
        until(begin, SECONDS)
    nothing_failed(running)
