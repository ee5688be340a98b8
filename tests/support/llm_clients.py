"""LLM backends for tests, and clients of each API."""

import anthropic
import openai
from google import genai

from support.proxy import to


def own_key(value="sk-of-the-gateway"):
    return {"backendAuth": {"key": {"value": {"inline": value}}}}


def one(kind, provider, policies=None, **ai):
    """A route to one provider of a kind, such as {"openAI": {}}."""
    backend = {"ai": {"provider": kind, "hostOverride": provider.address, **ai}}
    return to({**backend, "policies": policies or own_key()})


def groups(*all_groups, **ai):
    """A route to groups of providers, each given as name, kind, stand-in and more fields."""

    def made(name, kind, provider, **more):
        return {"name": name, "provider": kind, "hostOverride": provider.address, "policies": own_key(), **more}

    spec = [{"providers": [made(*each[:3], **(each[3] if len(each) > 3 else {})) for each in group]} for group in all_groups]
    return to({"ai": {"groups": spec, **ai}})


def openai_client(proxy, prefix="", **options):
    options = {"api_key": "sk-of-the-client", "max_retries": 0, "timeout": 20, **options}
    return openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}{prefix}/v1", **options)


def anthropic_client(proxy, prefix="", **options):
    options = {"api_key": "sk-of-the-client", "max_retries": 0, "timeout": 20, **options}
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{proxy.port}{prefix}", **options)


def genai_client(proxy, prefix=""):
    options = genai.types.HttpOptions(base_url=f"http://127.0.0.1:{proxy.port}{prefix}", timeout=20_000)
    return genai.Client(api_key="key-of-the-client", http_options=options)
