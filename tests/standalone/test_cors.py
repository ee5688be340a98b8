"""CORS: preflight requests are answered by the proxy, other responses get the headers that browsers ask for."""

import pytest

from support.proxy import to

ORIGIN = "https://app.example"
PREFLIGHT = [("origin", ORIGIN), ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-a")]
CORS = {
    "allowOrigins": [ORIGIN, "https://*.wild.example"],
    "allowMethods": ["GET", "PUT"],
    "allowHeaders": ["x-a", "x-b"],
    "exposeHeaders": ["x-seen"],
    "allowCredentials": True,
    "maxAge": 60,
}


@pytest.fixture(params=["route", "listener"])
def proxy(request, gateway, backend):
    host = backend()
    policies = {"cors": CORS}
    if request.param == "route":
        proxy = gateway(to(host, policies=policies))
    else:
        proxy = gateway(to(host), policies=policies)
    proxy.backend = host
    return proxy


def test_preflight(proxy):
    response = proxy.get(method="OPTIONS", headers=PREFLIGHT)
    assert response.status in (200, 204) and response.body == b""
    assert response.header("access-control-allow-origin") == ORIGIN
    assert response.header("access-control-allow-credentials") == "true"
    assert response.header("access-control-allow-methods") == "GET, PUT"
    assert response.header("access-control-allow-headers") == "x-a, x-b"
    assert response.header("access-control-max-age") == "60"
    assert proxy.backend.seen == [], "the backend is not asked"


def test_preflight_of_another_origin_gets_no_permission(proxy):
    response = proxy.get(method="OPTIONS", headers=[("origin", "https://evil.example"), *PREFLIGHT[1:]])
    assert not [name for name, _ in response.headers if name.lower().startswith("access-control-allow")]


def test_simple_request(proxy):
    response = proxy.get(headers=[("origin", "https://a.wild.example")])
    assert response.status == 200
    assert response.header("access-control-allow-origin") == "https://a.wild.example"
    assert response.header("access-control-expose-headers") == "x-seen"
    assert "Origin" in ", ".join(response.all("vary"))


def test_a_backend_cannot_allow_more(proxy):
    response = proxy.get("/?header=access-control-allow-origin:*", headers=[("origin", "https://evil.example")])
    assert response.status == 200 and response.header("access-control-allow-origin") is None


def test_options_that_is_no_preflight_reaches_the_backend(proxy):
    assert proxy.get(method="OPTIONS").json()["method"] == "OPTIONS"


def test_preflight_needs_no_token(gateway, backend):
    """Browsers send preflight requests without credentials."""
    rules = {"rules": [{"allow": "request.headers['x-user'] == 'me'"}]}
    proxy = gateway(to(backend(), policies={"cors": CORS, "authorization": rules}))
    assert proxy.get(method="OPTIONS", headers=PREFLIGHT).header("access-control-allow-origin") == ORIGIN
    refused = proxy.get(headers=[("origin", ORIGIN)])
    assert refused.status == 403
    assert refused.header("access-control-allow-origin") == ORIGIN, "a script must be able to read the refusal"
