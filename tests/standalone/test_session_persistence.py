"""Session persistence: cookies and headers that lead back to the endpoint of the first request."""

import re
import time

import pytest

from support.echo import headers_of
from support.http2 import Http2
from support.proxy import to
from support.wait import until


def session(**fields):
    return {"sessionPersistence": fields}


@pytest.fixture
def pair(backend):
    """Two backends of one route."""
    return backend("one"), backend("two")


def name_and_value(response):
    return response.header("set-cookie").split(";")[0]


def servers(proxy, count=20, **headers):
    return {proxy.get(headers=headers).json()["backend"] for _ in range(count)}


def test_a_cookie_leads_back_to_the_backend(gateway, pair):
    proxy = gateway(to(*pair, policies=session(sessionName="session")))
    assert servers(proxy, 40) == {"one", "two"}, "without a session any serves"
    seen = set()
    for _ in range(20):
        first = proxy.get()
        cookie = name_and_value(first)
        assert cookie.startswith("session=") and first.header("set-cookie").endswith("; Path=/; HttpOnly")
        assert servers(proxy, 5, cookie=f"a=b; {cookie}; c=d") == {first.json()["backend"]}
        assert proxy.get(headers={"cookie": cookie}).header("set-cookie") is None
        seen.add(first.json()["backend"])
    assert seen == {"one", "two"}


@pytest.mark.root
def test_a_cookie_leads_back_to_the_endpoint_also_in_another_proxy(gateway, backend, named):
    hosts = [backend(f"n{n}", host=f"127.0.0.{n}", port=None) for n in (2,)]
    hosts += [backend(f"n{n}", host=f"127.0.0.{n}", port=hosts[0].port) for n in (3, 4, 5)]
    prefix = named(many=[f"127.0.0.{n}" for n in (2, 3, 4, 5)])
    route = to(f"many.test:{hosts[0].port}", policies=session(sessionName="s"))
    proxy, replica = gateway(route, prefix=prefix), gateway(route, prefix=prefix)
    for _ in range(10):
        first = proxy.get()
        cookie, server = name_and_value(first), first.json()["backend"]
        assert servers(proxy, 5, cookie=cookie) == servers(replica, 5, cookie=cookie) == {server}


@pytest.mark.root
def test_an_endpoint_that_is_gone_gives_a_new_session(gateway, backend, named):
    one = backend("one", host="127.0.0.2")
    two = backend("two", host="127.0.0.3", port=one.port)
    proxy = gateway(to(f"both.test:{one.port}", policies=session()), prefix=named(both=["127.0.0.2", "127.0.0.3"]))
    first = proxy.get()
    cookie, server = name_and_value(first), first.json()["backend"]
    {"one": one, "two": two}[server].stop()
    response = proxy.get(headers={"cookie": cookie})
    assert response.status == 200 and response.json()["backend"] != server
    fresh = name_and_value(response)
    assert fresh != cookie and servers(proxy, 10, cookie=fresh) == {response.json()["backend"]}


def test_a_header(gateway, pair):
    proxy = gateway(to(*pair, policies=session(type="Header", sessionName="X-Session")))
    first = proxy.get()
    token = first.header("x-session")
    assert token and first.header("set-cookie") is None
    assert servers(proxy, 10, **{"x-session": token}) == {first.json()["backend"]}
    assert servers(proxy, 40, **{"x-session": "nonsense"}) == {"one", "two"}


def test_the_default_name_is_the_rules_own(gateway, pair):
    def rule(path):
        return to(*pair, policies=session(), matches=[{"path": {"pathPrefix": path}}])

    proxy = gateway(rule("/a"), rule("/b"))
    names = [proxy.get(path).header("set-cookie").split("=")[0] for path in ("/a", "/a/x", "/b")]
    assert names[0] == names[1] != names[2] and all(name.startswith("agw-session-") for name in names)
    assert "; Path=/a;" in proxy.get("/a/x").header("set-cookie")


def test_timeouts(gateway, pair):
    config = {"lifetimeType": "Permanent"}
    policies = session(sessionName="s", absoluteTimeout="4s", idleTimeout="2s", cookieConfig=config)
    proxy = gateway(to(*pair, policies=policies))
    start, first = time.time(), proxy.get()
    server, cookie = first.json()["backend"], name_and_value(first)
    assert re.search(r"Max-Age=[34]$", first.header("set-cookie"))
    while time.time() - start < 2.9:
        response = proxy.get(headers={"cookie": cookie})
        assert response.json()["backend"] == server, "each request prolongs it"
        if response.header("set-cookie"):
            cookie = name_and_value(response)
        time.sleep(0.5)
    until(lambda: time.time() - start > 5.1)
    assert servers(proxy, 40, cookie=cookie) == {"one", "two"}, "its whole time is over"


def test_a_share_of_zero_gets_no_session_back(gateway, pair):
    from support.proxy import routes

    def route(weights):
        shares = [{"host": host.address, "weight": weight} for host, weight in zip(pair, weights)]
        return to(*shares, policies=session(sessionName="s"))

    proxy = gateway(route([1, 0]))
    cookie = name_and_value(proxy.get())
    assert servers(proxy, cookie=cookie) == {"one"}
    proxy.reload(routes(proxy.port, route([0, 1])))
    assert servers(proxy, cookie=cookie) == {"two"}


def test_sessions_and_retries(gateway, pair):
    policies = {**session(sessionName="s"), "retry": {"attempts": 9, "codes": [503], "backoff": "1ms"}}
    proxy = gateway(to(*pair, policies=policies))
    cookies = {}
    while len(cookies) < 2:
        first = proxy.get()
        cookies[first.json()["backend"]] = name_and_value(first)
    one = next(host for host in pair if host.name == "one")
    one.stop()
    response = proxy.get(headers={"cookie": cookies["one"]})
    assert response.status == 200 and response.json()["backend"] == "two"
    assert name_and_value(response) != cookies["one"]


def test_the_backend_sees_the_clients_cookies_as_sent(gateway, pair):
    proxy = gateway(to(*pair, policies=session(sessionName="s")))
    with Http2(proxy.port) as client:
        status, headers, body = client.request("/?header=set-cookie:own=1", headers=[("cookie", "a=1"), ("cookie", "b=2")])
    assert status == 200 and "s=" in headers["set-cookie"]
    sent = [r for host in pair for r in host.seen]
    assert headers_of(sent[0])["cookie"] == "a=1; b=2"
