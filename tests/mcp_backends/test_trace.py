"""The place in a trace, which servers get in messages too."""

import pytest

from support.mcp_client import connect, text

from .conftest import stdio

pytestmark = pytest.mark.anyio

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


async def test_messages_carry_the_gateways_span(federation, github, ports):
    # Nobody takes the spans, which calls do not wait for.
    tracing = {"tracing": {"openTelemetry": {"grpcService": {"host": f"127.0.0.1:{ports.free()}"}}}}
    proxy = federation(github.target("github"), stdio("local"), policies=tracing)
    async with connect(proxy.url, headers=HEADERS) as client:
        for target in ("github", "local"):
            version, trace, span, flags = text(await client.call_tool(f"{target}_trace", {})).split("-")
            assert (version, trace, flags) == ("00", TRACE, "01") and span != SPAN


async def test_messages_stay_as_they_are_where_nothing_is_traced(federation):
    proxy = federation(stdio("local"))
    async with connect(proxy.url, headers=HEADERS) as client:
        assert text(await client.call_tool("trace", {})) == "None"
