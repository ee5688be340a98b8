"""Rules on MCP items, through the real client: lists are filtered, calls of anything else are answered as unknown."""

import pytest

from support.mcp_client import connect, text, tool_names
from support.tokens import ISSUER, Key

from .conftest import stdio

pytestmark = pytest.mark.anyio


@pytest.fixture
def ruled(federation, github):
    """A proxy with rules: (kind, expression) pairs."""

    def make(*rules, several=True, **levels):
        own = {"policies": {"mcpAuthorization": {"rules": [{kind: text} for kind, text in rules]}}} if rules else {}
        targets = [github.target("github"), *([stdio("local")] if several else [])]
        return federation(*targets, **own, **levels)

    return make


def rule(kind, expression):
    return {"mcpAuthorization": {"rules": [{kind: expression}]}}


async def refused(call) -> str:
    """The error of what is answered as unknown."""
    with pytest.raises(Exception) as error:
        await call
    return str(error.value)


async def test_allow_filters_lists_and_calls(ruled):
    proxy = ruled(("allow", 'mcp.tool.name == "search_code"'), several=False)
    async with connect(proxy.url) as client:
        assert await tool_names(client) == ["search_code"]
        assert text(await client.call_tool("search_code", {"query": "x"})) == "github found x"
        forbidden = await refused(client.call_tool("delete_repository", {}))
        never_was = await refused(client.call_tool("never_was", {}))
        assert forbidden.replace("delete_repository", "X") == never_was.replace("never_was", "X"), "as unknown as the other"


async def test_a_rule_on_tools_alone_hides_prompts_and_resources(ruled):
    proxy = ruled(("allow", 'mcp.tool.name == "search_code"'), several=False)
    async with connect(proxy.url) as client:
        assert (await client.list_prompts()).prompts == []
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        await refused(client.get_prompt("review", {"code": "x"}))
        await refused(client.read_resource("memo://first"))


async def test_rules_on_prompts_and_resources(ruled):
    proxy = ruled(("allow", 'mcp.prompt.name == "review"'), ("allow", 'mcp.resource.uri.startsWith("memo://")'), several=False)
    async with connect(proxy.url) as client:
        assert (await client.list_tools()).tools == []
        assert [p.name for p in (await client.list_prompts()).prompts] == ["review"]
        assert (await client.read_resource("memo://first")).contents[0].text == "github memo first"


async def test_deny_wins_and_leaves_the_rest(ruled):
    proxy = ruled(("deny", 'mcp.tool.name == "delete_repository"'), several=False)
    async with connect(proxy.url) as client:
        names = await tool_names(client)
        assert "delete_repository" not in names and "search_code" in names
        assert len((await client.list_prompts()).prompts) == 1, "a rule on tools is no match for a prompt"
        await refused(client.call_tool("delete_repository", {}))


async def test_a_requirement_on_tools_is_not_held_by_a_prompt(ruled):
    proxy = ruled(("require", 'mcp.tool.name != "delete_repository"'), several=False)
    async with connect(proxy.url) as client:
        assert "search_code" in await tool_names(client)
        assert (await client.list_prompts()).prompts == []


async def test_names_stand_for_both_of_a_tools_names(ruled):
    proxy = ruled(("allow", 'mcp.tool.name in ["search_code", "local_get_file_contents"]'))
    async with connect(proxy.url) as client:
        assert set(await tool_names(client)) == {"github_search_code", "local_search_code", "local_get_file_contents"}


async def test_a_negation_negates_both_names(ruled):
    proxy = ruled(("allow", 'mcp.tool.name != "github_search_code" && mcp.tool.name != "headers"'))
    async with connect(proxy.url) as client:
        names = await tool_names(client)
        assert "github_search_code" not in names and "local_search_code" in names
        assert "github_headers" not in names and "local_headers" not in names


@pytest.mark.parametrize(
    "expression",
    [
        'mcp.tool.name.startsWith("github_search")',
        'mcp.tool.name.endsWith("b_search_code")',
        'mcp.tool.name.contains("hub_search")',
        'mcp.tool.name.matches("^github_search_[a-z]+$")',
        'mcp.tool.target == "github" && mcp.tool.name == "search_code"',
        '!(mcp.tool.name != "github_search_code")',
    ],
)
async def test_other_ways_to_say_it(ruled, expression):
    proxy = ruled(("allow", expression))
    async with connect(proxy.url) as client:
        assert await tool_names(client) == ["github_search_code"]


async def test_targets_tell_tools_of_one_name_apart(ruled):
    proxy = ruled(("allow", 'mcp.tool.target == "local"'))
    async with connect(proxy.url) as client:
        assert {name.split("_")[0] for name in await tool_names(client)} == {"local"}
        await refused(client.call_tool("github_search_code", {"query": "x"}))


async def test_levels_are_evaluated_each_by_itself(ruled):
    proxy = ruled(
        ("allow", 'mcp.tool.name in ["search_code", "get_file_contents"]'),
        several=False,
        listener_policies=rule("allow", 'mcp.tool.name in ["search_code", "get_pull_request"]'),
        backend_policies=rule("deny", 'mcp.tool.name == "get_pull_request"'),
    )
    async with connect(proxy.url) as client:
        assert await tool_names(client) == ["search_code"]


async def test_claims_decide(federation, github):
    key = Key("ES256")
    policies = {
        "jwtAuth": {"issuer": ISSUER, "jwks": {"inline": key.pem}},
        **rule("allow", 'mcp.tool.name == "search_code" || "admin" in jwt.groups'),
    }
    proxy = federation(github.target("github"), policies=policies)
    async with connect(proxy.url, token=key.token(groups=["user"])) as client:
        assert await tool_names(client) == ["search_code"]
    async with connect(proxy.url, token=key.token(groups=["admin"])) as client:
        assert "delete_repository" in await tool_names(client)


async def test_an_error_is_no_match_for_an_allow_and_a_match_for_a_deny(ruled):
    allowing = ruled(("allow", 'jwt.sub == "me"'), ("allow", 'mcp.tool.name == "search_code"'), several=False)
    async with connect(allowing.url) as client:
        assert await tool_names(client) == ["search_code"]
    denying = ruled(("deny", 'jwt.sub == "me"'), several=False)
    async with connect(denying.url) as client:
        assert await tool_names(client) == []


async def test_rules_do_not_apply_to_the_handshake(ruled):
    proxy = ruled(("allow", "false"), several=False)
    async with connect(proxy.url) as client:
        assert await tool_names(client) == []
        assert client.server_info.name == "github"


async def test_a_change_of_rules_holds_for_open_sessions(ruled, github):
    proxy = ruled(("allow", 'mcp.tool.name == "search_code"'), several=False)
    text_before = proxy.config.read_text()
    async with connect(proxy.url, mode="legacy", cache=None) as client:
        assert await tool_names(client) == ["search_code"]
        proxy.reload(text_before.replace("search_code", "get_file_contents"))
        assert await tool_names(client) == ["get_file_contents"]
        await refused(client.call_tool("search_code", {"query": "x"}))
