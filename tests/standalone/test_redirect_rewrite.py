"""Redirects with each of their fields, and rewrites of path and host name."""

import pytest

from support.echo import headers_of
from support.proxy import to


def redirect(gateway, fields, prefix="/api"):
    proxy = gateway(to(matches=[{"path": {"pathPrefix": prefix}}], policies={"requestRedirect": fields}))

    def follow(path="/api/x?q=1", host="shop.test"):
        response = proxy.get(path, headers=[("host", host)])
        return response.status, response.header("location")

    follow.port = proxy.port
    return follow


def test_redirect_keeps_what_is_not_set(gateway):
    follow = redirect(gateway, {"scheme": "https"})
    assert follow() == (302, "https://shop.test/api/x?q=1")
    assert follow(host=f"shop.test:{follow.port}") == (302, "https://shop.test/api/x?q=1"), "https has a port of its own"


def test_redirect_without_scheme_keeps_the_listeners_port(gateway):
    follow = redirect(gateway, {"hostname": "new.test"})
    assert follow() == (302, f"http://new.test:{follow.port}/api/x?q=1")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_status(gateway, code):
    assert redirect(gateway, {"hostname": "new.test", "port": 80, "statusCode": code})() == (code, "http://new.test/api/x?q=1")


def test_redirect_all_fields(gateway):
    fields = {"scheme": "https", "hostname": "new.test", "port": 8443, "path": {"prefix": "/v2"}, "statusCode": 301}
    follow = redirect(gateway, fields)
    assert follow() == (301, "https://new.test:8443/v2/x?q=1")
    assert follow("/api") == (301, "https://new.test:8443/v2")


def test_redirect_to_a_full_path(gateway):
    assert redirect(gateway, {"port": 81, "path": {"full": "/gone"}})() == (302, "http://shop.test:81/gone?q=1")


def test_redirects_other_statuses_are_refused(gateway):
    proxy = gateway(to(policies={"requestRedirect": {"statusCode": 304}}), ready=False)
    assert proxy.wait() != 0
    assert "requestRedirect.statusCode" in "\n".join(proxy.err)


def rewrite(gateway, backend, fields, prefix="/api"):
    proxy = gateway(to(backend(), matches=[{"path": {"pathPrefix": prefix}}], policies={"urlRewrite": fields}))

    def send(path):
        got = proxy.get(path, headers=[("host", "shop.test")]).json()
        return got["target"], headers_of(got)["host"]

    return send


@pytest.mark.parametrize(
    ("new", "path", "expected"),
    [
        ("/v2", "/api", "/v2"),
        ("/v2", "/api/", "/v2/"),
        ("/v2", "/api/x?q=1", "/v2/x?q=1"),
        ("/v2/", "/api/x", "/v2/x"),
        ("/", "/api/x", "/x"),
        ("/", "/api", "/"),
    ],
)
def test_rewrite_prefix(gateway, backend, new, path, expected):
    assert rewrite(gateway, backend, {"path": {"prefix": new}})(path) == (expected, "shop.test")


def test_rewrite_full_path_keeps_the_query(gateway, backend):
    assert rewrite(gateway, backend, {"path": {"full": "/all"}})("/api/x?q=1") == ("/all?q=1", "shop.test")


def test_rewrite_hostname(gateway, backend):
    assert rewrite(gateway, backend, {"hostname": "inner.test"})("/api/x") == ("/api/x", "inner.test")


def test_rewrite_of_one_backend_alone(gateway, backend):
    plain, rewritten = backend("plain"), backend("rewritten")
    proxy = gateway(to(plain, {"host": rewritten.address, "policies": {"urlRewrite": {"path": {"full": "/new"}}}}))
    targets = {}
    for _ in range(60):
        got = proxy.get("/old").json()
        targets[got["backend"]] = got["target"]
    assert targets == {"plain": "/old", "rewritten": "/new"}


def test_rewrite_and_redirect_exclude_each_other(gateway, backend):
    policies = {"urlRewrite": {"hostname": "a.test"}, "requestRedirect": {"hostname": "b.test"}}
    proxy = gateway(to(backend(), policies=policies), ready=False)
    assert proxy.wait() != 0
    assert "requestRedirect" in "\n".join(proxy.err)
