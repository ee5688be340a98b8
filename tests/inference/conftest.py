"""Fixtures of pools of model servers."""

import pytest

from support.model_server import ModelServers


@pytest.fixture
def servers():
    """Starts model servers."""
    made = []

    def make(pods=3, **options) -> ModelServers:
        made.append(ModelServers(pods, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        panics = [line for line in each.err if "panicked" in line]
        assert not panics, panics


@pytest.fixture
def pool(gateway):
    """Starts a proxy with one route, to a pool of these servers."""

    def make(hosts, policies=None, route=(), **fields):
        fields.setdefault("choiceHeader", "x-choice")
        share = {"inference": {"hosts": hosts if isinstance(hosts, list) else hosts.hosts, **fields}}
        if policies:
            share["policies"] = policies
        return gateway({"backends": [share], **dict(route)})

    return make
