"""Fault injection: delays and answers, and whom they reach."""

import time

import pytest

from support.proxy import to


@pytest.fixture
def host(backend):
    return backend()


def fault(**fields):
    return {"faultInjection": fields}


def test_requests_are_answered_without_a_backend(gateway, host):
    proxy = gateway(to(host, policies={**fault(abort={"httpStatus": 503}), "retry": {"attempts": 3, "codes": [503]}}))
    assert proxy.get().status == 503
    assert host.seen == []
    assert proxy.metric("agentgateway_retries_total") == 0
    assert proxy.access_lines("reason=fault_injected")


def test_requests_are_delayed(gateway, host):
    proxy = gateway(
        to(host, policies=fault(delay={"fixedDelay": "400ms"}), matches=[{"path": {"pathPrefix": "/slow"}}]),
        to(host, policies={**fault(delay={"fixedDelay": "5s"}), "timeout": {"requestTimeout": "300ms"}}, matches=[{"path": {"pathPrefix": "/late"}}]),
        to(host),
    )
    for path, status, least, most in [("/slow", 200, 0.4, 1.2), ("/late", 504, 0.3, 1.2), ("/", 200, 0, 0.3)]:
        start = time.monotonic()
        assert proxy.get(path).status == status
        assert least <= time.monotonic() - start < most, path


def test_a_share_of_the_requests(gateway, host):
    proxy = gateway(to(host, policies=fault(abort={"httpStatus": 418, "percentage": 25})))
    statuses = [proxy.get().status for _ in range(400)]
    assert 60 <= statuses.count(418) <= 145
    assert statuses.count(200) == 400 - statuses.count(418)


def test_on_a_listener_and_after_authorization(gateway, host):
    policies = {**fault(abort={"httpStatus": 500}), "authorization": {"rules": [{"allow": "request.path == '/open'"}]}}
    proxy = gateway(to(host), policies=policies)
    assert proxy.get("/open").status == 500
    assert proxy.get("/closed").status == 403
