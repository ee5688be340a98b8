"""Certificates of listeners on a cluster: a Secret that is replaced under load, goes, and comes back."""

import base64
import json
import socket
import threading
import time

import pytest
from load import Load
from support.certificates import Authority
from testcluster import wait_for

HOST = "web.example"
ROTATIONS = 4
# From the new Secret to the first connection that shows its certificate.
LIVE_WITHIN_SECONDS = 3
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: secure, namespace: web}
spec:
  gatewayClassName: agentgateway
  listeners:
  - name: https
    port: 443
    protocol: HTTPS
    tls: {certificateRefs: [{name: web}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: moved, namespace: web}
spec:
  parentRefs: [{name: secure}]
  rules:
  - backendRefs: [{name: echo, port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: web}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: server
        image: testcluster.local/echo-basic:1
        readinessProbe: {tcpSocket: {port: 3000}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: web}
spec:
  selector: {app: echo}
  ports: [{port: 80, targetPort: 3000}]
"""


class Certificates:
    """Makes certificates of one authority, and puts them into the Secret that the listener names."""

    def __init__(self, cluster, folder):
        self.cluster, self.authority, self.count = cluster, Authority(folder), 0

    def renew(self):
        self.count += 1
        made = self.authority.issue(HOST, file=f"certificate-{self.count}")
        data = {"tls.crt": made.cert.read_bytes(), "tls.key": made.key.read_bytes()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "web", "namespace": "web"},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(content).decode() for name, content in data.items()},
        }
        self.cluster.apply(json.dumps(secret))
        return made.serial

    def context(self):
        context = self.authority.client()
        # The load dials the address.
        context.check_hostname = False
        return context


@pytest.fixture(scope="module")
def certificates(installed, tmp_path_factory):
    installed.restricted_namespace("web")
    certificates = Certificates(installed, tmp_path_factory.mktemp("certificates"))
    certificates.first = certificates.renew()
    return certificates


@pytest.fixture(scope="module")
def address(installed, certificates):
    installed.apply(GATEWAY)
    installed.rollout("web", "echo")
    address = installed.programmed("web", "secure")
    wait_for("TLS", lambda: shown(certificates, address) == certificates.first)
    return address


def shown(certificates, address):
    """Serial number of the certificate that a new connection is shown, checked against the authority."""
    with socket.create_connection((address, 443), timeout=5) as connection:
        with certificates.context().wrap_socket(connection, server_hostname=HOST) as encrypted:
            return int(encrypted.getpeercert()["serialNumber"], 16)


class Watch:
    """Looks at the certificate of a new connection again and again; when each was first shown, and the last."""

    def __init__(self, certificates, address):
        self.certificates, self.address = certificates, address
        self.seen, self.failures = {}, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.over.wait(0.05):
            try:
                self.seen.setdefault(shown(self.certificates, self.address), time.monotonic())
            except OSError as error:
                self.failures.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def test_a_replaced_certificate_is_shown_soon_and_fails_nothing(certificates, address):
    load = Load(address, 443, plain_per_second=60, tls=certificates.context())
    replaced = {}
    with load, Watch(certificates, address) as watch:
        for _ in range(ROTATIONS):
            time.sleep(2)
            begin = time.monotonic()
            replaced[certificates.renew()] = begin
        time.sleep(LIVE_WITHIN_SECONDS)
    assert not watch.failures, watch.failures[:3]
    delays = {serial: watch.seen[serial] - begin for serial, begin in replaced.items()}
    print(f"shown after {', '.join(f'{delay:.2f} s' for delay in delays.values())}")
    assert max(delays.values()) < LIVE_WITHIN_SECONDS
    for stream in load.streams:
        assert stream.succeeded > 100 and not stream.failures, f"{stream}: {stream.failures[:3]}"


def listener_condition(cluster, kind):
    (listener,) = cluster.get("gateway", "secure", "-n", "web")["status"]["listeners"]
    return next(condition for condition in listener["conditions"] if condition["type"] == kind)


def test_a_certificate_that_goes_is_told_and_one_that_comes_back_is_used(installed, certificates, address):
    installed.kubectl("-n", "web", "delete", "secret", "web")
    wait_for("the condition", lambda: listener_condition(installed, "ResolvedRefs")["reason"] == "InvalidCertificateRef")

    def refused():
        try:
            return shown(certificates, address) is None
        except OSError:
            return True

    wait_for("no connections", refused)
    serial = certificates.renew()
    wait_for("the condition", lambda: listener_condition(installed, "ResolvedRefs")["status"] == "True")
    wait_for("connections", lambda: shown(certificates, address) == serial)


def test_a_new_control_plane_closes_nothing_while_it_reads_secrets(installed, certificates, address):
    """It has the certificates before it tells proxies anything, however late it reads them."""
    load = Load(address, 443, plain_per_second=60, tls=certificates.context())
    with load:
        time.sleep(1)
        installed.restart()
        time.sleep(2)
    for stream in load.streams:
        assert stream.succeeded > 100 and not stream.failures, f"{stream}: {stream.failures[:3]}"
