"""Manifests of what the tests create."""

GATEWAY_API = "gateway.networking.k8s.io/v1"


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"bench": "true"}}}


def gateway(namespace, name, listeners=None, **spec):
    everywhere = {"namespaces": {"from": "All"}}
    listeners = listeners or [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": everywhere}]
    return {
        "apiVersion": GATEWAY_API,
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"gatewayClassName": "agentgateway", "listeners": listeners, **spec},
    }


def service(namespace, name, *ports):
    """Without a selector: the tests write its endpoints themselves."""
    ports = [{"name": f"p{port}", "port": port} for port in ports or (80,)]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": {"ports": ports}}


def endpoints(namespace, service, targets, addresses):
    """`targets`: port of the Service -> port at the addresses."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": service, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": f"p{port}", "port": target, "protocol": "TCP"} for port, target in targets.items()],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def parent(namespace, name, kind="Gateway"):
    return {"group": "gateway.networking.k8s.io", "kind": kind, "namespace": namespace, "name": name}


def backend(name, port=80):
    return {"name": name, "port": port}


def route(namespace, name, gateway, rules, hostnames=(), parents=None):
    return {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": parents or [gateway], **({"hostnames": list(hostnames)} if hostnames else {}), "rules": rules},
    }


def header_modifier(value):
    return {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-bench", "value": value}]}}


def prefix(path):
    return {"path": {"type": "PathPrefix", "value": path}}
