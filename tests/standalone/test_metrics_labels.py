"""Metrics by labels of a policy, with bounds."""

from support.proxy import to


def test_requests_are_counted_by_labels_with_a_bound(gateway, backend):
    labels = [
        {"name": "tenant", "value": "request.headers['x-tenant']", "maxValues": 2},
        {"name": "code", "value": "response.code"},
    ]
    proxy = gateway(to(backend(), policies={"metrics": {"labels": labels}}))
    for tenant in ("a", "b", "a", "c", "d"):
        proxy.get(headers={"x-tenant": tenant})
    proxy.get("/?status=500", headers={"x-tenant": "a"})
    proxy.get()
    count = lambda name="requests", **labels: proxy.metric(f"agentgateway_labelled_{name}_total", **labels)
    assert (count(tenant="a"), count(tenant="b"), count(tenant="c")) == (3, 1, 0)
    # A request without the header has no value, which is one too many.
    assert count(tenant="other") == 3
    assert (count("failed_requests", tenant="a", code="500"), count("failed_requests")) == (1, 1)
    assert count("duration_microseconds") > 0
    # A reload forgets nothing.
    proxy.reload(proxy.config.read_text() + "\n")
    assert count(tenant="a") == 3
