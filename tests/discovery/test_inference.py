"""InferencePools from manifests to the proxy."""

import pytest

from support.envoy import EnvoyServices, about, option
from support.model_server import ModelServers, chat, fresh
from support.wait import until

from .conftest import gateway, obj, route

GROUP = "inference.networking.k8s.io"


@pytest.fixture
def world(plane, ports):
    plane.gateway_port, plane.pod_port = ports.free(), ports.free()
    plane.servers = {address: ModelServers(1, address=address, port=plane.pod_port) for address in ("127.0.0.2", "127.0.0.3")}
    plane.apply("gateway", gateway(plane.gateway_port))
    yield plane
    for servers in plane.servers.values():
        servers.close()


def pod(name, address, ready=True, labels=None):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    metadata = {"name": name, "namespace": "default", "labels": labels or {"app": "vllm"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": address, "conditions": conditions}}


def pool(name, *ports, **fields):
    spec = {"selector": {"matchLabels": {"app": "vllm"}}, "targetPorts": [{"number": port} for port in ports], **fields}
    return obj(f"{GROUP}/v1", "InferencePool", name, spec)


def to(*shares):
    return route("models", {"backendRefs": [{"group": GROUP, "kind": "InferencePool", "port": 1, **share} for share in shares]})


def test_a_pool_is_served_by_its_ready_pods(world, proxies):
    world.apply("pods", pod("a", "127.0.0.2"), pod("b", "127.0.0.3", ready=False), pod("c", "127.0.0.9", labels={"app": "web"}))
    world.apply("pool", pool("vllm", world.pod_port))
    world.apply("route", to({"name": "vllm"}))
    proxy = proxies(world)
    world.wait_printed("InferencePool default/vllm on=default/edge Accepted=True ResolvedRefs=True")
    world.wait_printed("HTTPRoute default/models on=default/edge Accepted=True ResolvedRefs=True")
    fresh(proxy, 1)
    assert chat(world.gateway_port, "x").status == 200
    assert proxy.metric("agentgateway_inference_endpoints", pool="default/vllm") == 1
    # A pod becomes ready, another goes.
    world.apply("pods", pod("a", "127.0.0.2"), pod("b", "127.0.0.3"))
    until(lambda: proxy.metric("agentgateway_inference_endpoints", pool="default/vllm") == 2)
    world.apply("pods", pod("b", "127.0.0.3"))
    until(lambda: proxy.metric("agentgateway_inference_endpoints", pool="default/vllm") == 1)
    world.servers["127.0.0.2"].close()
    assert {chat(world.gateway_port, f"{n}").status for n in range(10)} == {200}
    # Without its route the gateway's entry goes.
    world.delete("route")
    until(lambda: chat(world.gateway_port, "x").status == 404)


def test_weights_over_pools(world, proxies):
    world.apply("pods", pod("a", "127.0.0.2", labels={"app": "a"}), pod("b", "127.0.0.3", labels={"app": "b"}))
    for name in "ab":
        world.apply(name, pool(name, world.pod_port, selector={"matchLabels": {"app": name}}))
    world.apply("route", to({"name": "a", "weight": 3}, {"name": "b", "weight": 1}))
    proxy = proxies(world)
    until(lambda: chat(world.gateway_port, "x").status == 200)
    for n in range(100):
        assert chat(world.gateway_port, f"{n}").status == 200
    counts = {name: proxy.metric("agentgateway_inference_choices_total", pool=f"default/{name}") for name in "ab"}
    assert counts["a"] > 55 and counts["b"] > 8, counts


def test_h2c_and_several_ports(world, proxies):
    world.apply("pods", pod("a", "127.0.0.2"))
    world.apply("pool", pool("vllm", world.pod_port, 1, appProtocol="kubernetes.io/h2c"))
    world.apply("route", to({"name": "vllm"}))
    proxy = proxies(world)
    until(lambda: chat(world.gateway_port, "x").status == 200)
    assert proxy.metric("agentgateway_inference_endpoints", pool="default/vllm") == 2
    assert {chat(world.gateway_port, f"{n}").status for n in range(10)} == {200}, "nobody listens on the other port"


def picker_service(service) -> list[dict]:
    return [
        obj("v1", "Service", "epp", {"ports": [{"name": "grpc", "port": 9002, "appProtocol": "http2"}]}),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "epp-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "epp"}},
            "addressType": "IPv4",
            "ports": [{"name": "grpc", "port": service.port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        },
    ]


def test_the_picker_that_a_pool_names_is_asked(world, proxies, ports):
    reference = {"name": "epp", "port": {"number": 9002}}
    world.apply("pods", pod("a", "127.0.0.2"), pod("b", "127.0.0.3"))
    world.apply("pool", pool("vllm", world.pod_port, endpointPickerRef=reference))
    world.apply("route", to({"name": "vllm"}))
    proxies(world)
    world.wait_printed("InferencePool default/vllm on=default/edge Accepted=True ResolvedRefs=False.InvalidExtensionRef")
    until(lambda: chat(world.gateway_port, "x").status == 503)
    world.apply("pool", pool("vllm", world.pod_port, endpointPickerRef={**reference, "failureMode": "FailOpen"}))
    until(lambda: chat(world.gateway_port, "x").status == 200)
    picker = EnvoyServices(ports)
    try:
        world.apply("picker", *picker_service(picker))
        world.wait_printed("InferencePool default/vllm on=default/edge Accepted=True ResolvedRefs=True")
        for address in ("127.0.0.2", "127.0.0.3"):
            named = [option("x-gateway-destination-endpoint", f"{address}:{world.pod_port}")]
            picker.script(request_headers=about("request_headers", {"header_mutation": {"set_headers": named}}))
            until(lambda: chat(world.gateway_port, "x").status == 200 and picker.calls, what="the picker is asked")
            served = [m for call in picker.ended() for m in call["messages"] if "response_headers" in m]
            told = {m["metadata_context"]["filter_metadata"]["envoy.lb"]["x-gateway-destination-endpoint-served"] for m in served}
            assert told == {f"{address}:{world.pod_port}"}
    finally:
        picker.close()
