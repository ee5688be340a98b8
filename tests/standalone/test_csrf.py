"""Requests that other sites' pages make browsers send."""

import pytest

from support.proxy import to


@pytest.fixture
def host(backend):
    return backend()


def csrf(**fields):
    return {"csrf": fields}


@pytest.mark.parametrize("level", ["route", "listener"])
def test_what_changes_something_comes_from_its_own_site(gateway, host, level):
    proxy = gateway(to(host, policies=csrf())) if level == "route" else gateway(to(host), policies=csrf())
    ask = lambda method, **headers: proxy.get(method=method, headers={"host": "shop.example", **headers})
    assert [ask(method).status for method in ("GET", "HEAD", "OPTIONS")] == [200] * 3
    for own in ({"origin": "https://shop.example"}, {"origin": "http://SHOP.example:80"}, {"referer": "https://shop.example/cart?x"}):
        assert ask("POST", **own).status == 200, own
    seen = len(host.seen)
    for other in ({}, {"origin": "null"}, {"origin": "https://evil.example"}, {"origin": "https://shop.example.evil.example"}, {"referer": "https://evil.example/shop.example"}):
        response = ask("POST", **other)
        assert (response.status, response.text) == (403, "invalid origin"), other
    assert ask("DELETE", origin="https://evil.example").status == 403
    assert len(host.seen) == seen
    assert any("csrf" in line for line in proxy.access_lines("403"))


def test_other_origins_and_shares(gateway, host):
    origins = [{"exact": "pay.example"}, {"suffix": ".shop.example"}, {"safeRegex": r"https://[a-z]+\.APPS\.example", "ignoreCase": True}]
    proxy = gateway(to(host, policies=csrf(additionalOrigins=origins)))
    ask = lambda origin: proxy.get(method="POST", headers={"origin": origin}).status
    for origin in ("https://pay.example", "https://www.shop.example", "https://a.apps.example"):
        assert ask(origin) == 200, origin
    for origin in ("https://pay.example.evil.example", "https://shop.example", "http://a.apps.example", "https://a1.apps.example"):
        assert ask(origin) == 403, origin


def test_a_share_is_checked_and_others_are_looked_at(gateway, host):
    proxy = gateway(to(host, policies=csrf(percentageEnabled=0, percentageShadowed=100)))
    assert proxy.get(method="POST").status == 200
    proxy.wait_for("would be refused by csrf")
    half = gateway(to(host, policies=csrf(percentageEnabled=50)))
    refused = sum(half.get(method="POST").status == 403 for _ in range(200))
    assert 50 < refused < 150
