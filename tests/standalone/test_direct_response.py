"""Answers of the gateway's own, and the host name of backends."""

from support.echo import headers_of
from support.proxy import to


def test_an_answer_in_the_backends_stead(gateway, backend):
    host = backend()
    policies = {"directResponse": {"status": 410, "body": "it is gone", "headers": [{"name": "x-why", "value": "moved"}]}}
    proxy = gateway(to(matches=[{"path": {"pathPrefix": "/old"}}], policies=policies), to(host))
    response = proxy.get("/old/x")
    assert (response.status, response.text, response.header("x-why")) == (410, "it is gone", "moved")
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert proxy.get("/old", "HEAD").body == b""
    assert proxy.get("/new").status == 200 and len(host.seen) == 1


def test_who_may_not_pass_gets_no_answer(gateway):
    policies = {"directResponse": {"status": 200, "body": "secret"}, "authorization": {"rules": [{"allow": "request.method == 'POST'"}]}}
    proxy = gateway(to(policies=policies))
    assert proxy.get().status == 403
    assert proxy.get(method="POST").text == "secret"


def test_the_backends_own_host_name(gateway, backend):
    host = backend()
    own = host.address.replace("127.0.0.1", "localhost")
    rewrite = {"autoHostRewrite": True, "urlRewrite": {"hostname": "written.example"}}
    proxy = gateway(
        to(own, matches=[{"path": {"pathPrefix": "/auto"}}], policies={"autoHostRewrite": True}),
        to(own, matches=[{"path": {"pathPrefix": "/rewrite"}}], policies=rewrite),
        to(own),
    )
    named = lambda path: headers_of(proxy.get(path, headers={"host": "client.example"}).json())["host"]
    assert [named("/auto"), named("/rewrite"), named("/")] == [own, "written.example", "client.example"]
