"""TLS, TCP and UDP by Gateway API: what the manifests say reaches the wire."""

import base64
import socket

import pytest

from support.certificates import serial_of
from support.http1 import Client
from support.streams import DatagramServer, Datagrams, Stream
from support.wait import until

from .conftest import NAME, NAMESPACE, gateway, obj, route, rule, static

API = "gateway.networking.k8s.io"


def secret(name, certificate) -> dict:
    data = {"tls.crt": certificate.cert.read_bytes(), "tls.key": certificate.key.read_bytes()}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "type": "kubernetes.io/tls", "data": encoded}


def authorities(name, authority) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": {"ca.crt": authority.pem.decode()}}


def service(name, port, protocol="TCP") -> list[dict]:
    """A Service with one endpoint on this machine."""
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "main", "port": port, "protocol": protocol}],
    }
    ports = [{"name": "main", "port": 443, "targetPort": port, "protocol": protocol}]
    return [obj("v1", "Service", name, {"ports": ports, "clusterIP": "10.96.0.10"}), slice_]


def to_service(name) -> dict:
    return {"backendRefs": [{"name": name, "port": 443}]}


def backend_tls(service_name, hostname, **validation) -> dict:
    spec = {
        "targetRefs": [{"group": "", "kind": "Service", "name": service_name}],
        "validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}], "hostname": hostname, **validation},
    }
    return obj(f"{API}/v1", "BackendTLSPolicy", f"{service_name}-tls", spec)


def stream_route(kind, service_name, listener, version="v1", **fields) -> dict:
    parent = {"name": NAME, "sectionName": listener}
    return obj(f"{API}/{version}", kind, f"{service_name}-{kind.lower()}", {"parentRefs": [parent], "rules": [to_service(service_name)], **fields})


def eventually(action, what):
    """What the action gives, once it gives something; configuration takes a moment."""

    def tried():
        try:
            return action()
        except (OSError, EOFError, AssertionError):
            return None

    return until(tried, 10, what)


@pytest.fixture
def https(plane, ports, backend, authority):
    """A gateway with an HTTPS listener and one backend in plaintext."""
    own = authority.issue("a.example")
    listeners = [{"name": "https", "port": ports.free(), "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "server"}]}}]
    plane.gateway_port, plane.own = listeners[0]["port"], own
    plane.gateway = gateway(0, listeners=listeners)
    plane.apply("gateway", plane.gateway)
    plane.apply("secret", secret("server", own))
    plane.apply("ca", authorities("ca", authority))
    plane.apply("first", static("first", backend("first").address))
    plane.apply("route", route("web", rule("first")))
    return plane


def get(port, context, name="a.example", path="/"):
    with Client(port, context=context, name=name) as client:
        answer = client.request(path, headers={"host": name})
        return answer.json() if answer.status == 200 else answer.status


def test_https_with_the_certificate_of_a_secret(https, proxies, authority):
    proxies(https)
    context = authority.client()
    assert eventually(lambda: get(https.gateway_port, context), "an answer")["backend"] == "first"
    fresh = authority.issue("a.example")
    https.apply("secret", secret("server", fresh))

    def shown():
        with Stream(https.gateway_port, context, "a.example") as client:
            return serial_of(client.socket) == fresh.serial

    until(shown, what="the new certificate")


def test_client_certificates_by_the_gateways_frontend(https, proxies, authority):
    validation = {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}
    https.gateway["spec"]["tls"] = {"frontend": {"default": {"validation": validation}}}
    https.apply("gateway", https.gateway)
    proxies(https)
    good = authority.client(authority.issue("client.example"))
    eventually(lambda: get(https.gateway_port, good), "an answer")
    with pytest.raises(OSError):
        get(https.gateway_port, authority.client())
    # A bundle that is not there must not open the listener.
    https.delete("ca")
    until(lambda: refused(https.gateway_port, good), what="the listener to close")
    assert refused(https.gateway_port, authority.client())


def refused(port, context) -> bool:
    try:
        get(port, context)
    except OSError:
        return True
    return False


def test_tls_to_services_by_policy(https, proxies, backend, authority):
    own = authority.issue("gateway.example", common="gateway")
    encrypted = backend("encrypted", context=authority.server(authority.issue("s.example", uris=["spiffe://td/s"]), ask_clients=True))
    https.gateway["spec"]["tls"] = {"backend": {"clientCertificateRef": {"name": "own"}}}
    https.apply("gateway", https.gateway)
    https.apply("own", secret("own", own))
    https.apply("service", *service("s", encrypted.port))
    https.apply("route", route("web", to_service("s")))
    https.apply("policy", backend_tls("s", "s.example"))
    proxies(https)
    context = authority.client()
    answer = eventually(lambda: (got := get(https.gateway_port, context)) != 500 and got, "an answer")
    assert answer["client_certificate"]["subject"] == [[["commonName", "gateway"]]]
    assert encrypted.server_names[-1] == "s.example"
    names = [{"type": "URI", "uri": "spiffe://td/other"}]
    https.apply("policy", backend_tls("s", "s.example", subjectAltNames=names))
    until(lambda: get(https.gateway_port, context) == 502, what="another name to be asked for")
    https.apply("policy", backend_tls("s", "s.example", subjectAltNames=[{"type": "URI", "uri": "spiffe://td/s"}]))
    until(lambda: isinstance(get(https.gateway_port, context), dict), what="the right name")
    seen = len(encrypted.seen)
    https.delete("ca")
    until(lambda: get(https.gateway_port, context) == 500, what="the policy not to be applicable")
    assert get(https.gateway_port, context) == 500 and len(encrypted.seen) - seen < 20


def test_streams_by_their_routes(plane, proxies, ports, stream_server, authority):
    leaf = authority.issue("ends.example", "through.example")
    plain, encrypted = stream_server("plain"), stream_server("encrypted", context=authority.server(leaf))
    datagrams = DatagramServer("datagrams")
    tls, tcp, udp = ports.free(), ports.free(), ports.free()
    listeners = [
        {"name": "ends", "port": tls, "protocol": "TLS", "hostname": "ends.example", "tls": {"mode": "Terminate", "certificateRefs": [{"name": "server"}]}},
        {"name": "through", "port": tls, "protocol": "TLS", "hostname": "through.example", "tls": {"mode": "Passthrough"}},
        {"name": "tcp", "port": tcp, "protocol": "TCP"},
        {"name": "udp", "port": udp, "protocol": "UDP"},
    ]
    plane.apply("gateway", gateway(0, listeners=listeners))
    plane.apply("secret", secret("server", leaf), authorities("ca", authority))
    plane.apply("plain", *service("plain", plain.port))
    # One policy for a Service that is reached both ways: what is passed through has TLS already.
    plane.apply("encrypted", *service("encrypted", encrypted.port), backend_tls("encrypted", "ends.example"))
    plane.apply("datagrams", *service("datagrams", datagrams.port, "UDP"))
    plane.apply(
        "routes",
        stream_route("TLSRoute", "plain", "ends", hostnames=["ends.example"]),
        stream_route("TLSRoute", "encrypted", "through", hostnames=["through.example"]),
        stream_route("TCPRoute", "encrypted", "tcp"),
        stream_route("UDPRoute", "datagrams", "udp"),
    )
    try:
        proxies(plane)
        for name, expected in [("ends.example", "plain"), ("through.example", "encrypted")]:

            def asked(name=name):
                with Stream(tls, authority.client(), name) as client:
                    return client.line(), client.ask("word")

            assert eventually(asked, name) == (expected, "WORD")
        assert encrypted.names[-1] == "through.example"

        def over_tcp():
            with Stream(tcp) as client:
                return client.line(), client.ask("word")

        assert eventually(over_tcp, "TCP") == ("encrypted", "WORD")
        assert encrypted.names[-1] == "ends.example", "from plaintext to TLS, as the policy says"

        def over_udp():
            with Datagrams(udp, timeout=1) as client:
                return client.ask("word")

        assert eventually(over_udp, "UDP") == "datagrams word"
        with pytest.raises(OSError), Stream(tls, authority.client(), "other.example"):
            pass
        with socket.create_connection(("127.0.0.1", tls), timeout=5):
            pass
    finally:
        datagrams.stop()
