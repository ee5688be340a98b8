"""Header modifiers: set, add and remove, on requests and responses, at each level."""

from support.echo import headers_of
from support.http1 import request
from support.proxy import to


def modifier(level):
    return {
        "set": [{"name": "x-set", "value": level}],
        "add": [{"name": "X-Add", "value": level}],
        "remove": [f"x-remove-{level}"],
    }


def test_request_headers(gateway, backend):
    host = backend()
    proxy = gateway(
        to(
            {"host": host.address, "policies": {"requestHeaderModifier": modifier("backend")}},
            policies={"requestHeaderModifier": modifier("route")},
        ),
        policies={"requestHeaderModifier": modifier("listener")},
    )
    sent = [("x-set", "client"), ("x-add", "client"), *((f"x-remove-{level}", "1") for level in ("listener", "route", "backend"))]
    got = headers_of(proxy.get(headers=sent + [("x-kept", "1")]).json())
    assert got["x-set"] == "backend", "the level nearest to the backend comes last"
    assert got["x-add"] == "client, listener, route, backend"
    assert not [name for name in got if name.startswith("x-remove")]
    assert got["x-kept"] == "1"


def test_response_headers(gateway, backend):
    host = backend()
    proxy = gateway(
        to(
            {"host": host.address, "policies": {"responseHeaderModifier": modifier("backend")}},
            policies={"responseHeaderModifier": modifier("route")},
        ),
        policies={"responseHeaderModifier": modifier("listener")},
    )
    response = proxy.get("/?header=x-set:server&header=x-add:server&header=x-remove-route:1&header=x-remove-backend:1")
    assert response.all("x-set") == ["listener"], "on the way back the order is the opposite"
    assert ", ".join(response.all("x-add")) == "server, backend, route, listener"
    assert response.header("x-remove-route") is None and response.header("x-remove-backend") is None


def test_several_values_are_replaced_by_one(gateway, backend):
    proxy = gateway(to(backend(), policies={"requestHeaderModifier": {"set": [{"name": "x-a", "value": "new"}]}}))
    got = proxy.get(headers=[("x-a", "1"), ("X-A", "2")]).json()["headers"]
    assert [value for name, value in got if name == "x-a"] == ["new"]


def test_without_modifiers_end_to_end_headers_arrive_as_sent(gateway, backend):
    proxy = gateway(to(backend()))
    got = headers_of(request(proxy.port, headers=[("x-a", "1"), ("accept", "a/b"), ("cookie", "c=d"), ("user-agent", "t")]).json())
    assert (got["x-a"], got["accept"], got["cookie"], got["user-agent"]) == ("1", "a/b", "c=d", "t")


def test_hop_by_hop_headers_stay_on_their_hop(gateway, backend):
    proxy = gateway(to(backend()))
    hop = [("connection", "keep-alive, x-private"), ("keep-alive", "timeout=5"), ("x-private", "1"), ("proxy-authorization", "x")]
    response = proxy.get("/?header=keep-alive:timeout%3D5", headers=hop)
    got = headers_of(response.json())
    assert not {"x-private", "keep-alive", "proxy-authorization"} & set(got)
    assert response.header("keep-alive") is None
