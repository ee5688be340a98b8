"""Cards: revalidated, served while the agent is down, and refused where they are none."""

from support.proxy import to
from support.wait import until

CARD = "/.well-known/agent-card.json"


def test_a_card_outlives_its_agent(gateway, agent):
    new = agent("v1")
    proxy = gateway(to({"a2a": {"host": new.address, "publicURL": "https://agents.example.com"}}))
    first = proxy.get(CARD)
    assert [i["url"] for i in first.json()["supportedInterfaces"]] == ["https://agents.example.com/rpc", "https://agents.example.com"]
    again = proxy.get(CARD, headers={"if-none-match": first.header("etag")})
    assert again.status == 304 and again.text == ""
    # The agent was asked whether it is still the same.
    until(lambda: any(" 304" in line for line in new.requests()), what="a revalidation")
    new.close()
    stale = proxy.get(CARD)
    assert stale.status == 200 and stale.json() == first.json()
    assert stale.header("warning").startswith("111") and int(stale.header("age")) >= 0
    assert proxy.metric("agentgateway_a2a_requests_total", method="GetAgentCard", outcome="stale") == 1


def test_without_a_card_an_agent_that_is_down_is_an_error(gateway, ports):
    proxy = gateway(to({"a2a": {"host": f"127.0.0.1:{ports.free()}"}}))
    assert proxy.get(CARD).status in (502, 503)
