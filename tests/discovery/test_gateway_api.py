"""The kinds of Gateway API on a folder: what attaches to what, what its status says, and which of two counts."""

import contextlib
import datetime
import re
import socket
import ssl

import h2.events
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support import paths
from support.http1 import request
from support.http2 import Http2
from support.http2_server import Http2Server
from support.wait import until

from .conftest import NAME, backend_ref, gateway, obj, route, rule, static

API = "gateway.networking.k8s.io/v1"
ALL = {"namespaces": {"from": "All"}}


def listener(name, port, protocol="HTTP", **fields):
    return {"name": name, "port": port, "protocol": protocol, "allowedRoutes": ALL, **fields}


def grpc_route(name, *rules, **fields):
    return obj(API, "GRPCRoute", name, {"parentRefs": [{"name": NAME}], "rules": list(rules), **fields})


def called(port, path, authority="any.test"):
    """What answers a request over HTTP/2: a status and a text; None while nobody listens."""
    with contextlib.suppress(OSError), Http2(port) as client:
        stream = client.send(path, "POST", [("content-type", "application/grpc")], b"", authority)
        status = dict(client.wait(h2.events.ResponseReceived, stream).headers)[":status"]
        client.wait(h2.events.StreamEnded, stream)
        data = [e.data for e in client.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream]
        return int(status), b"".join(data).decode()
    return None


def secret(name, hostname, key=None):
    """A Secret with a certificate of its own."""
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(own.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), False).sign(own, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = (key or own).private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate.public_bytes(pem).decode(), "tls.key": private.decode()},
    }


@pytest.fixture
def http2(ports):
    server = Http2Server(ports.free())
    yield server
    server.close()


def test_grpc_routes_by_service_and_method(plane, proxies, ports, http2):
    port = ports.free()
    plane.apply("gateway", gateway(port))
    plane.apply("grpc", static("grpc", f"127.0.0.1:{http2.port}", appProtocol="grpc"))
    matches = [{"method": {"service": "shop.v1.Orders", "method": "Get"}}, {"method": {"service": "shop.v1.Carts"}}]
    plane.apply("route", grpc_route("orders", {"matches": matches, "backendRefs": [backend_ref("grpc")]}))
    proxies(plane)
    until(lambda: called(port, "/shop.v1.Orders/Get") == (200, "HTTP/2 /shop.v1.Orders/Get any.test"), what="an answer")
    assert called(port, "/shop.v1.Carts/Anything")[0] == 200
    for path in ("/shop.v1.Orders/List", "/shop.v1.CartsOfOthers/Get"):
        assert called(port, path)[0] != 200 or "HTTP/2" not in called(port, path)[1], path
    plane.wait_printed("GRPCRoute default/orders on=default/edge Accepted=True ResolvedRefs=True")


def test_a_backend_without_http2_is_no_backend_for_grpc(plane, ports):
    plane.apply("gateway", gateway(ports.free()))
    plane.apply("plain", static("plain", "127.0.0.1:1"))
    plane.apply("route", grpc_route("r", {"backendRefs": [backend_ref("plain")]}))
    plane.wait_printed("GRPCRoute default/r .*ResolvedRefs=False.UnsupportedProtocol")


def test_of_an_http_and_a_grpc_route_on_one_host_one_is_accepted(plane, proxies, ports, http2, backend):
    port = ports.free()
    plane.apply("gateway", gateway(port))
    plane.apply("grpc", static("grpc", f"127.0.0.1:{http2.port}", appProtocol="grpc"))
    plane.apply("web", static("web", backend("web").address))
    plane.apply("a", route("a-http", rule("web"), hostnames=["any.test"]))
    plane.apply("b", grpc_route("b-grpc", {"backendRefs": [backend_ref("grpc")]}, hostnames=["*.test"]))
    proxies(plane)
    plane.wait_printed("GRPCRoute default/b-grpc .*Accepted=False.Conflicted")
    until(lambda: (called(port, "/a.B/C") or (0, ""))[1].startswith("{"), what="the HTTPRoute to answer")
    plane.delete("a")
    until(lambda: called(port, "/a.B/C") == (200, "HTTP/2 /a.B/C any.test"), what="the GRPCRoute to answer")


def test_listeners_of_a_listener_set(plane, proxies, ports, backend):
    own, added = ports.free(), ports.free()
    spec = {"gatewayClassName": "agentgateway", "listeners": [listener("http", own)]}
    plane.apply("web", static("web", backend("web").address))
    plane.apply("gateway", obj(API, "Gateway", NAME, spec))
    listeners = [listener("http", added), listener("taken", own)]
    plane.apply("set", obj(API, "ListenerSet", "more", {"parentRef": {"name": NAME}, "listeners": listeners}))
    parent = {"kind": "ListenerSet", "name": "more"}
    plane.apply("route", obj(API, "HTTPRoute", "r", {"parentRefs": [parent], "rules": [rule("web")]}))
    proxies(plane)
    plane.wait_printed("ListenerSet default/more Accepted=False.NotAllowed")
    plane.apply("gateway", obj(API, "Gateway", NAME, {**spec, "allowedListeners": {"namespaces": {"from": "Same"}}}))

    def answered(port):
        with contextlib.suppress(OSError):
            return request(port, "/").status
        return None

    until(lambda: answered(added) == 200, what="the listener of the set")
    assert answered(own) == 404, "the route is on the set alone"
    plane.wait_printed("ListenerSet default/more listener=taken Accepted=False.HostnameConflict")
    plane.wait_printed("ListenerSet default/more listener=http .*Programmed=True attachedRoutes=1")


def test_certificates_come_late_and_go(plane, ports):
    tls = {"certificateRefs": [{"name": "shop"}]}
    listeners = [listener("http", ports.free()), listener("https", ports.free(), "HTTPS", tls=tls)]
    plane.apply("gateway", gateway(None, listeners=listeners))
    line = f"Gateway default/{NAME} listener=https .*"
    plane.wait_printed(line + "ResolvedRefs=False.InvalidCertificateRef: .*does not exist")
    since = len(plane.out)
    plane.apply("secret", secret("shop", "shop.test"))
    plane.wait_printed(line + "ResolvedRefs=True", since=since)
    since = len(plane.out)
    plane.apply("secret", secret("shop", "shop.test", ec.generate_private_key(ec.SECP256R1())))
    plane.wait_printed(line + "ResolvedRefs=False.InvalidCertificateRef: .*cannot be used together", since=since)
    since = len(plane.out)
    plane.delete("secret")
    plane.wait_printed(line + "ResolvedRefs=False.InvalidCertificateRef: .*does not exist", since=since)


def test_no_key_is_printed(plane, ports):
    made = secret("shop", "shop.test")
    broken = {**made, "metadata": {"name": "broken", "namespace": "default"}, "data": 7}
    plane.apply("secret", made, broken)
    tls = {"certificateRefs": [{"name": "shop"}, {"name": "broken"}]}
    plane.apply("gateway", gateway(None, listeners=[listener("https", ports.free(), "HTTPS", tls=tls)]))
    plane.wait_printed("listener=https .*Programmed=True")
    printed = "\n".join(plane.out + plane.err)
    secret_lines = made["stringData"]["tls.key"].splitlines()[1:-1]
    assert not any(each in printed for each in secret_lines)


def over_tls(port, hostname, authority, path="/"):
    """What answers on a TLS connection to this server name; the certificate must be the authority's own."""
    context = ssl.create_default_context(cadata=authority)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname=hostname) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {hostname}\r\nconnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def eventually(call, expected, what):
    last = ""

    def answers():
        nonlocal last
        try:
            last = call()
        except OSError as error:
            last = repr(error)
        return expected in last

    try:
        until(answers, what=what)
    except AssertionError as error:
        raise AssertionError(f"{error}; the last answer was {last}") from error


def test_https_with_a_certificate_that_is_renewed(plane, proxies, ports, backend):
    port = ports.free()
    first, second = secret("shop", "shop.test"), secret("shop", "shop.test")
    tls = {"certificateRefs": [{"name": "shop"}]}
    plane.apply("secret", first)
    plane.apply("gateway", gateway(None, listeners=[listener("https", port, "HTTPS", hostname="shop.test", tls=tls)]))
    plane.apply("web", static("web", backend("web").address))
    plane.apply("route", route("r", rule("web")))
    proxies(plane)
    eventually(lambda: over_tls(port, "shop.test", first["stringData"]["tls.crt"]), " 200 ", "the first certificate")
    plane.apply("secret", second)
    eventually(lambda: over_tls(port, "shop.test", second["stringData"]["tls.crt"]), " 200 ", "the second certificate")


def test_streams_reach_their_backends(plane, proxies, ports, backend):
    """A TLSRoute where TLS ends and a TCPRoute; the backend of both speaks HTTP."""
    tcp, tls_port = ports.free(), ports.free()
    made = secret("shop", "shop.test")
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "shop"}]}
    plane.apply("secret", made)
    plane.apply("gateway", gateway(None, listeners=[listener("tcp", tcp, "TCP"), listener("tls", tls_port, "TLS", tls=tls)]))
    plane.apply("web", static("web", backend("web").address))
    rules, parents = [{"backendRefs": [backend_ref("web")]}], [{"name": NAME}]
    plane.apply("tcp", obj(API, "TCPRoute", "r", {"parentRefs": parents, "rules": rules}))
    plane.apply("tls", obj(API, "TLSRoute", "r", {"parentRefs": parents, "hostnames": ["shop.test"], "rules": rules}))
    proxies(plane)
    eventually(lambda: request(tcp, "/").text, "web", "the TCPRoute")
    eventually(lambda: over_tls(tls_port, "shop.test", made["stringData"]["tls.crt"]), " 200 ", "the TLSRoute")


def test_streams_attach_to_listeners_of_their_protocol(plane, ports):
    tcp, udp, tls = ports.free(), ports.free(), ports.free()
    listeners = [
        listener("tcp", tcp, "TCP"),
        listener("udp", udp, "UDP"),
        listener("tls", tls, "TLS", tls={"mode": "Passthrough"}, hostname="*.test"),
    ]
    plane.apply("gateway", gateway(None, listeners=listeners))
    ports_of_db = [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
    plane.apply("service", obj("v1", "Service", "db", {"ports": ports_of_db}))
    rules = [{"backendRefs": [{"name": "db", "port": 53}]}]
    parents = [{"name": NAME}]
    for kind, hosts in (("TCPRoute", {}), ("UDPRoute", {}), ("TLSRoute", {"hostnames": ["db.test"]})):
        plane.apply(kind.lower(), obj(API, kind, "r", {"parentRefs": parents, "rules": rules, **hosts}))
        plane.wait_printed(f"{kind} default/r on=default/{NAME} Accepted=True ResolvedRefs=True")
    plane.apply("wrong", obj(API, "TCPRoute", "w", {"parentRefs": [{"name": NAME, "sectionName": "udp"}], "rules": rules}))
    plane.wait_printed("TCPRoute default/w .*Accepted=False.NotAllowedByListeners")
    for name in ("tcp", "udp", "tls"):
        plane.wait_printed(f"Gateway default/{NAME} listener={name} .*attachedRoutes=1")


def test_a_backend_tls_policy_that_cannot_be_applied_closes_its_backend(plane, proxies, ports, backend):
    port = ports.free()
    plane.apply("gateway", gateway(port))
    plane.apply("web", static("web", backend("web").address))
    plane.apply("route", route("r", rule("web")))
    proxies(plane)
    eventually(lambda: str(request(port, "/").status), "200", "the backend")
    target = {"group": "gateway.kgateway.dev", "kind": "Backend", "name": "web"}
    reference = {"group": "", "kind": "ConfigMap", "name": "nowhere"}
    validation = {"hostname": "web.test", "caCertificateRefs": [reference]}
    plane.apply("policy", obj(API, "BackendTLSPolicy", "p", {"targetRefs": [target], "validation": validation}))
    plane.wait_printed("BackendTLSPolicy default/p on=default/edge Accepted=False.NoValidCACertificate.* ResolvedRefs=False.InvalidCACertificateRef")
    eventually(lambda: str(request(port, "/").status), "50", "the backend to be closed")
    plane.delete("policy")
    eventually(lambda: str(request(port, "/").status), "200", "the backend to be open")


def test_the_example_of_the_guide_is_accepted(plane):
    guide = (paths.ROOT / "docs" / "gateway-api.md").read_text()
    example = list(yaml.safe_load_all(re.search("```yaml\n(.*?)```", guide, re.DOTALL)[1]))
    services = {"web": 80, "web-next": 80, "orders": 9000, "db": 5432, "queue": 5672}
    backends = [obj("v1", "Service", name, {"ports": [{"port": port}]}) for name, port in services.items()]
    backends.append(obj("v1", "Service", "dns", {"ports": [{"port": 53, "protocol": "UDP"}]}))
    plane.apply("all", *example, *backends, secret("shop", "*.shop.test"))
    for each in example:
        name = f"{each['kind']} default/{each['metadata']['name']}"
        since = "" if each["kind"] in ("Gateway", "ListenerSet") else " on=default/(edge|team).*"
        plane.wait_printed(f"{name}{since} Accepted=True (Programmed=True )?ResolvedRefs=True|{name} Accepted=True Programmed=True")
    assert not [line for line in plane.err if "there is no such field" in line]
