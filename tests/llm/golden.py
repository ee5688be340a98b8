"""The files that the translation is tested against."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2] / "dataplane/llm-format/tests/golden"
CLIENTS = ["openai-chat", "openai-responses", "anthropic-messages", "gemini"]
PROVIDERS = [*CLIENTS, "bedrock-converse"]


def cases(kind, name):
    """Cases of a file of JSON: names and values."""
    return json.loads((ROOT / "expected" / kind / f"{name}.json").read_text()).items()


def inputs(kind, name):
    return json.loads((ROOT / kind / f"{name}.json").read_text()).items()


def streams(name):
    """Cases of a file of streams: names, what the stream told, and its bytes."""
    text = (ROOT / "expected/streams" / f"{name}.txt").read_bytes().decode()
    for case in text.split("=== ")[1:]:
        title, told, stream = case.split("\n", 2)
        yield title, told, stream


def provider_streams(name):
    text = (ROOT / "streams" / f"{name}.txt").read_bytes().decode()
    for case in text.split("=== ")[1:]:
        yield case.split("\n", 1)
