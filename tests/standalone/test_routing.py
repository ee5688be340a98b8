"""Which request goes where: listeners, hostnames, paths, headers, query, methods, precedence, weights."""

import collections

import pytest

from support.http1 import Client, request
from support.proxy import document, to


def answered_by(proxy, path="/", host="any.test", **options):
    headers = [("host", host), *options.pop("headers", [])]
    response = proxy.get(path, headers=headers, **options)
    return response.json()["backend"] if response.status == 200 else response.status


def test_listeners_by_hostname(start, ports, backend):
    def listener(hostname, name):
        return {**({"hostname": hostname} if hostname else {}), "routes": [to(backend(name))]}

    listeners = [listener("a.test", "exact"), listener("*.test", "wildcard"), listener("*.sub.test", "longer"), listener(None, "all")]
    proxy = start(document([{"port": ports.free(), "listeners": listeners}]))
    expected = {
        "a.test": "exact",
        "A.TEST": "exact",
        f"a.test:{proxy.port}": "exact",
        "b.test": "wildcard",
        "x.y.test": "wildcard",
        "x.sub.test": "longer",
        "sub.test": "wildcard",
        "test": "all",
        "other.example": "all",
    }
    assert {host: answered_by(proxy, host=host) for host in expected} == expected


def test_no_listener_for_the_host_is_404(start, ports, backend):
    listener = {"hostname": "only.test", "routes": [to(backend())]}
    proxy = start(document([{"port": ports.free(), "listeners": [listener]}]))
    assert answered_by(proxy, host="only.test") == "backend"
    assert answered_by(proxy, host="else.test") == 404


def test_requests_never_fall_through_to_another_listener(start, ports, backend):
    listeners = [
        {"hostname": "a.test", "routes": [to(backend("a"), matches=[{"path": {"exact": "/only"}}])]},
        {"routes": [to(backend("all"))]},
    ]
    proxy = start(document([{"port": ports.free(), "listeners": listeners}]))
    assert answered_by(proxy, "/only", "a.test") == "a"
    assert answered_by(proxy, "/", "a.test") == 404
    assert answered_by(proxy, "/", "b.test") == "all"


def test_hostnames_of_routes(gateway, backend):
    proxy = gateway(
        to(backend("wildcard"), hostnames=["*.example.com"]),
        to(backend("exact"), hostnames=["a.example.com", "b.example.com"]),
        to(backend("rest")),
    )
    assert [answered_by(proxy, host=h) for h in ("a.example.com", "b.example.com", "c.example.com", "example.com")] == [
        *("exact", "exact", "wildcard", "rest")
    ]


def test_less_specific_hostnames_are_tried_when_the_path_does_not_match(gateway, backend):
    proxy = gateway(
        to(backend("exact"), hostnames=["a.example.com"], matches=[{"path": {"pathPrefix": "/api"}}]),
        to(backend("wildcard"), hostnames=["*.example.com"]),
    )
    assert answered_by(proxy, "/api/x", "a.example.com") == "exact"
    assert answered_by(proxy, "/else", "a.example.com") == "wildcard"


def test_paths(gateway, backend):
    proxy = gateway(
        to(backend("prefix"), matches=[{"path": {"pathPrefix": "/a"}}]),
        to(backend("longer"), matches=[{"path": {"pathPrefix": "/a/b"}}]),
        to(backend("exact"), matches=[{"path": {"exact": "/a/b"}}]),
        to(backend("regex"), matches=[{"path": {"regex": "/v[0-9]+/.*"}}]),
    )
    expected = {
        "/a": "prefix",
        "/a/": "prefix",
        "/a/x?q=1": "prefix",
        "/ab": 404,
        "/a/b": "exact",
        "/a/b/": "longer",
        "/a/b/c": "longer",
        "/a/bc": "prefix",
        "/v12/x": "regex",
        "/v/x": 404,
        "/x/v1/x": 404,
        "/": 404,
    }
    assert {path: answered_by(proxy, path) for path in expected} == expected


def test_headers_query_and_method(gateway, backend):
    proxy = gateway(
        to(backend("header"), matches=[{"headers": [{"name": "X-Env", "exact": "canary"}]}]),
        to(backend("regex"), matches=[{"headers": [{"name": "x-env", "regex": "dev-[a-z]+"}]}]),
        to(backend("query"), matches=[{"query": [{"name": "beta", "exact": "1"}]}]),
        to(backend("method"), matches=[{"method": "PUT"}]),
        to(backend("rest")),
    )
    assert answered_by(proxy, headers=[("x-env", "canary")]) == "header"
    assert answered_by(proxy, headers=[("x-env", "Canary")]) == "rest"
    assert answered_by(proxy, headers=[("x-env", "dev-a")]) == "regex"
    assert answered_by(proxy, headers=[("x-env", "a-dev-a")]) == "rest"
    assert answered_by(proxy, "/?x=1&beta=1") == "query"
    assert answered_by(proxy, "/?beta=2") == "rest"
    assert answered_by(proxy, method="PUT") == "method"
    assert answered_by(proxy, method="POST") == "rest"


def test_all_conditions_of_a_match_and_one_of_several_matches(gateway, backend):
    both = {"path": {"pathPrefix": "/a"}, "method": "GET", "headers": [{"name": "x-one", "exact": "1"}]}
    proxy = gateway(to(backend(), matches=[both, {"path": {"exact": "/other"}}]))
    assert answered_by(proxy, "/a", headers=[("x-one", "1")]) == "backend"
    assert answered_by(proxy, "/a") == 404
    assert answered_by(proxy, "/a", method="POST", headers=[("x-one", "1")]) == 404
    assert answered_by(proxy, "/other") == "backend"


def test_precedence(gateway, backend):
    """Path before method before number of headers before number of query parameters; then the first in the file."""
    one, two = {"name": "x-one", "exact": "1"}, {"name": "x-two", "exact": "2"}
    proxy = gateway(
        to(backend("query"), matches=[{"query": [{"name": "q", "exact": "1"}]}]),
        to(backend("one header"), matches=[{"headers": [one]}]),
        to(backend("two headers"), matches=[{"headers": [one, two]}]),
        to(backend("method"), matches=[{"method": "GET"}]),
        to(backend("path"), matches=[{"path": {"pathPrefix": "/long"}}]),
        to(backend("twin of path"), matches=[{"path": {"pathPrefix": "/long"}}]),
    )
    everything = [("x-one", "1"), ("x-two", "2")]
    assert answered_by(proxy, "/long?q=1", headers=everything) == "path"
    assert answered_by(proxy, "/?q=1", headers=everything) == "method"
    assert answered_by(proxy, "/?q=1", method="POST", headers=everything) == "two headers"
    assert answered_by(proxy, "/?q=1", method="POST", headers=everything[:1]) == "one header"
    assert answered_by(proxy, "/?q=1", method="POST") == "query"


def test_shorter_prefix_is_tried_when_the_best_ones_conditions_fail(gateway, backend):
    proxy = gateway(
        to(backend("long"), matches=[{"path": {"pathPrefix": "/a/b"}, "method": "POST"}]),
        to(backend("short"), matches=[{"path": {"pathPrefix": "/a"}}]),
    )
    assert answered_by(proxy, "/a/b", method="POST") == "long"
    assert answered_by(proxy, "/a/b") == "short"


def test_weights(gateway, backend):
    one, three, none = backend("one"), backend("three"), backend("none")
    proxy = gateway(
        to({"host": one.address, "weight": 1}, {"host": three.address, "weight": 3}, {"host": none.address, "weight": 0}),
        config={"accessLog": False},
    )
    count = collections.Counter()
    with Client(proxy.port) as client:
        for _ in range(1200):
            count[client.request().json()["backend"]] += 1
    # 300 expected; 5 standard deviations of the binomial distribution are 75.
    assert count["none"] == 0
    assert 225 <= count["one"] <= 375, count


@pytest.mark.parametrize("shares", [[], [0]], ids=["no backend", "only weight 0"])
def test_without_a_backend_requests_get_500(gateway, backend, shares):
    proxy = gateway(to(*({"host": backend().address, "weight": w} for w in shares)))
    assert answered_by(proxy) == 500


def test_several_binds(start, ports, backend):
    binds = [{"port": ports.free(), "listeners": [{"routes": [to(backend(name))]}]} for name in ("first", "second")]
    proxy = start(document(binds))
    assert [request(port).json()["backend"] for port in proxy.ports] == ["first", "second"]


def test_a_bind_listens_on_its_address_alone(gateway, backend):
    """The other fixtures bind 127.0.0.1; 127.0.0.2 is this machine too."""
    proxy = gateway(to(backend()))
    with pytest.raises(ConnectionRefusedError), Client(proxy.port, "127.0.0.2") as client:
        client.request()
