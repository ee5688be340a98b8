"""The three configurations of the book's chapter 4, as written; only ports and the GitHub server's address are ours."""

import json
import shutil

import pytest
import yaml

from support import paths
from support.mcp_client import connect, text, tool_names
from support.tokens import AUDIENCE, ISSUER, Key

from .conftest import BOOK_ENVIRONMENT

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

RULES_ALLOW = {"github_search_code", "github_get_file_contents", "github_get_pull_request", "everything_echo", "time_get_current_time"}


def book(name) -> dict:
    return yaml.safe_load((paths.BOOK / f"{name}.yaml").read_text())


def merged(port, github, *policies) -> dict:
    """The first file with our port and a second HTTP server for GitHub, and with the policies of the others."""
    whole = book("mcp-multiplex")
    (bind,) = whole["binds"]
    (listener,) = bind["listeners"]
    (route,) = listener["routes"]
    (target,) = [t for t in route["backends"][0]["mcp"]["targets"] if t["name"] == "github"]
    target["mcp"].update(host="127.0.0.1", port=github.port)
    bind["port"], bind["address"] = port, "127.0.0.1"
    for other in policies:
        added = book(other)["binds"][0]["listeners"][0]["routes"][0]["policies"]
        route.setdefault("policies", {}).update(added)
    return whole


@pytest.fixture
def run(start, ports, github):
    def make(*policies, **options):
        options.setdefault("cwd", paths.NODE)
        whole = merged(ports.free(), github, *policies)
        proxy = start(yaml.safe_dump(whole, sort_keys=False), env=BOOK_ENVIRONMENT, **options)
        proxy.url = f"http://127.0.0.1:{proxy.port}/mcp"
        return proxy

    return make


async def test_multiplex(run):
    """Tools of all three servers under their prefixed names, and calls reach the server that is meant."""
    proxy = run()
    async with connect(proxy.url) as client:
        names = set(await tool_names(client))
        assert {"time_get_current_time", "time_convert_time"} <= names
        assert {"everything_echo", "everything_get-sum"} <= names
        assert {"github_search_code", "github_get_file_contents", "github_get_pull_request"} <= names
        assert all(name.split("_", 1)[0] in ("time", "everything", "github") for name in names)
        assert text(await client.call_tool("everything_echo", {"message": "hello"})) == "Echo: hello"
        time = json.loads(text(await client.call_tool("time_get_current_time", {"timezone": "Europe/Berlin"})))
        assert time["timezone"] == "Europe/Berlin"
        assert text(await client.call_tool("github_search_code", {"query": "x"})) == "github found x"


async def test_authorization_merged_into_multiplex(run):
    """The book writes GitHub's tools by their own names and the others by federated names; a rule matches by either."""
    proxy = run("mcp-authorization")
    async with connect(proxy.url) as client:
        assert set(await tool_names(client)) == RULES_ALLOW
        assert text(await client.call_tool("github_search_code", {"query": "x"})) == "github found x"
        assert text(await client.call_tool("everything_echo", {"message": "hello"})) == "Echo: hello"
        for refused in ("github_delete_repository", "everything_get-sum", "time_convert_time", "search_code"):
            # As unknown as a tool that never was.
            with pytest.raises(Exception) as error:
                await client.call_tool(refused, {})
            assert "unknown" in str(error.value).lower() or "not found" in str(error.value).lower()


@pytest.mark.parametrize("form", ["jwk", "jwks", "pem"])
async def test_jwt_and_passthrough_merged_into_multiplex(run, tmp_path, form):
    key = Key("RS256")
    folder = tmp_path / "manifests" / "jwt"
    folder.mkdir(parents=True)
    (folder / "pub-key").write_text({"jwk": json.dumps(key.jwk), "jwks": json.dumps(key.jwks), "pem": key.pem}[form])
    # npx finds the server in the folder that it runs in.
    (tmp_path / "node_modules").symlink_to(paths.NODE / "node_modules")
    shutil.copy(paths.NODE / "package.json", tmp_path)
    proxy = run("jwt-passthrough", cwd=tmp_path)
    assert proxy.get("/mcp", method="POST", body=b"{}").status == 401, "strict by default"
    for wrong in (key.token(aud="other"), key.token(iss="other"), Key("RS256").token()):
        with pytest.raises(Exception):
            async with connect(proxy.url, token=wrong):
                pass
    token = key.token()
    async with connect(proxy.url, token=token) as client:
        assert {"time_get_current_time", "everything_echo", "github_headers"} <= set(await tool_names(client))
        headers = json.loads(text(await client.call_tool("github_headers", {})))
    assert headers["authorization"] == f"Bearer {token}"


async def test_without_passthrough_the_token_ends_at_the_proxy(start, ports, github):
    key = Key("RS256")
    whole = merged(ports.free(), github)
    route = whole["binds"][0]["listeners"][0]["routes"][0]
    jwt = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": key.pem}}
    route["backends"][0]["mcp"]["targets"] = [t for t in route["backends"][0]["mcp"]["targets"] if t["name"] == "github"]
    route["policies"] = {"jwtAuth": jwt}
    proxy = start(yaml.safe_dump(whole))
    async with connect(f"http://127.0.0.1:{proxy.port}/mcp", token=key.token()) as client:
        headers = json.loads(text(await client.call_tool("headers", {})))
    assert "authorization" not in headers


@pytest.mark.parametrize("name", ["mcp-authorization", "jwt-passthrough"])
async def test_files_without_backends_load_with_a_warning(start, ports, name, tmp_path):
    """They are parts to be merged into the first one; alone, requests get 500."""
    key = Key("RS256")
    (tmp_path / "manifests" / "jwt").mkdir(parents=True)
    (tmp_path / "manifests" / "jwt" / "pub-key").write_text(key.pem)
    whole = book(name)
    whole["binds"][0].update(port=ports.free(), address="127.0.0.1")
    proxy = start(yaml.safe_dump(whole), cwd=tmp_path)
    assert "WARN" in "\n".join(proxy.err) and "routes[0]" in "\n".join(proxy.err)
    response = proxy.get("/", headers=[("authorization", f"Bearer {key.token()}")])
    assert response.status == 500
    if name == "jwt-passthrough":
        assert proxy.get("/").status == 401


@pytest.mark.parametrize("name", ["mcp-multiplex", "mcp-authorization", "jwt-passthrough"])
def test_files_are_valid_as_written(name, tmp_path):
    import subprocess

    (tmp_path / "manifests" / "jwt").mkdir(parents=True)
    (tmp_path / "manifests" / "jwt" / "pub-key").write_text(Key("ES256").pem)
    command = [paths.agentgateway(), "--validate-only", "-f", paths.BOOK / f"{name}.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("warning" in done.stderr) == (name != "mcp-multiplex")
