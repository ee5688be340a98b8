"""Backends of type AI by manifests: keys of Secrets, the client's own key, aliases, failover, and what is missing."""

import http.server
import json
import threading

import pytest

from support.http1 import request
from support.wait import until

from .conftest import gateway, obj, route, rule

OWN = "gateway.kgateway.dev/v1alpha1"
KEY = "sk-of-the-provider-0123456789"
ASK = {"model": "fast", "messages": [{"role": "user", "content": "Hello"}], "unknown_field": {"kept": True}}


class Provider:
    """Answers as the API does to which a path belongs; `seen` are its requests, `fails` a status in the place of answers."""

    def __init__(self, port):
        self.port, self.seen, self.fails = port, [], None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status, answer = (200, outer.answer(self.path, body)) if outer.fails is None else (outer.fails, {"error": {"message": "no"}})
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, body):
        if path.endswith("/messages"):
            content = [{"type": "text", "text": f"from {self.port}"}]
            usage = {"input_tokens": 3, "output_tokens": 2}
            return {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
        message = {"role": "assistant", "content": f"from {self.port}"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return {"id": "c1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def providers(ports):
    made = [Provider(ports.free()), Provider(ports.free())]
    yield made
    for provider in made:
        provider.close()


@pytest.fixture
def world(plane, ports):
    plane.gateway_port = ports.free()
    plane.apply("gateway", gateway(plane.gateway_port))
    plane.apply("route", route("models", rule("models")))
    return plane


def ai(**fields):
    return obj(OWN, "Backend", "models", {"type": "AI", "ai": fields})


def at(provider, **fields):
    return {"host": "127.0.0.1", "port": provider.port, **fields}


def secret(name="provider"):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "stringData": {"Authorization": KEY}}


SECRET = {"kind": "SecretRef", "secretRef": {"name": "provider"}}


def ask(world, path="/v1/chat/completions", body=None, headers=()):
    headers = {"content-type": "application/json", **dict(headers)}
    return request(world.gateway_port, path, "POST", headers, json.dumps(body or ASK).encode())


def answers(world, **options):
    def answered():
        try:
            response = ask(world, **options)
        except OSError:
            return None
        return response if response.status == 200 else None

    return until(answered, 10, "an answer")


def test_the_key_of_a_secret_and_aliases(world, proxies, providers):
    one = providers[0]
    world.apply("models", ai(llm=at(one, openai={"authToken": SECRET}), modelAliases={"fast": "gpt-5-mini", "big-*": "gpt-*"}))
    world.wait_printed("Backend default/models Accepted=False.*Secret default/provider does not exist")
    proxy = proxies(world)
    assert ask(world).status == 500
    world.apply("secret", secret())
    answers(world, headers={"authorization": "Bearer of-the-client", "x-api-key": "of-the-client", "cookie": "a=b"})
    path, headers, body = one.seen[-1]
    assert (path, body) == ("/v1/chat/completions", {**ASK, "model": "gpt-5-mini"})
    assert headers["authorization"] == f"Bearer {KEY}" and headers["host"] == f"127.0.0.1:{one.port}"
    assert "x-api-key" not in headers and "cookie" not in headers
    assert ask(world, body={**ASK, "model": "big-5"}).status == 200
    assert one.seen[-1][2]["model"] == "gpt-5"
    listed = request(world.gateway_port, "/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["fast"]
    assert KEY not in json.dumps(proxy.dump()) + "\n".join(proxy.out + proxy.err + world.out + world.err)


def test_the_clients_own_key_goes_where_the_provider_wants_it(world, proxies, providers):
    one = providers[0]
    world.apply("models", ai(llm=at(one, anthropic={"authToken": {"kind": "Passthrough"}})))
    proxies(world)
    body = {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    for name, value in (("authorization", "Bearer k1"), ("x-api-key", "k1"), ("x-goog-api-key", "k1")):
        response = answers(world, path="/v1/messages", body=body, headers={name: value})
        assert response.json()["content"][0]["text"] == f"from {one.port}"
        headers = one.seen[-1][1]
        assert headers["x-api-key"] == "k1" and "authorization" not in headers and headers["anthropic-version"]
    refused = ask(world, path="/v1/messages", body=body)
    assert refused.status == 401 and refused.json()["error"]["type"] == "authentication_error"


def test_the_next_group_serves_when_one_fails_and_translates(world, proxies, providers):
    first, second = providers
    groups = [
        {"providers": [{"name": "first", **at(first, openai={"authToken": SECRET})}]},
        {"providers": [{"name": "second", **at(second, anthropic={"authToken": SECRET, "model": "claude"})}]},
    ]
    world.apply("secret", secret())
    world.apply("models", ai(priorityGroups=groups))
    proxies(world)
    body = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}
    assert answers(world, body=body).json()["choices"][0]["message"]["content"] == f"from {first.port}"
    for fails in (500, 503, 429):
        first.fails = fails
        answered = ask(world, body=body)
        assert answered.status == 200, fails
        told = answered.json()
        assert told["object"] == "chat.completion" and told["usage"]["total_tokens"] == 5
        assert told["choices"][0]["message"]["content"] == f"from {second.port}"
    path, headers, sent = second.seen[-1]
    assert path == "/v1/messages" and headers["x-api-key"] == KEY and "authorization" not in headers
    assert sent["model"] == "claude" and sent["messages"][0]["role"] == "user" and sent["max_tokens"] > 0
    # A request that is wrong is wrong everywhere: no provider is asked in the place of the first.
    first.fails, second.fails = None, 400
    before = len(second.seen)
    refused = request(world.gateway_port, "/v1/chat/completions", "POST", {"content-type": "application/json"}, b"{not json")
    assert refused.status == 400 and refused.json()["error"]["type"] == "invalid_request_error"
    assert len(second.seen) == before


@pytest.mark.parametrize(
    "provider, reason",
    [
        ({"compatible": {"preset": "nobody"}}, "is no preset"),
        ({"compatible": {"api": "OpenAI"}}, "host"),
        ({"openai": {"authToken": {"kind": "Inline", "inline": "a key"}}}, "visible ASCII"),
        ({"bedrock": {"auth": {"type": "Secret", "secretRef": {"name": "nowhere"}}}}, "Secret default/nowhere does not exist"),
    ],
)
def test_what_cannot_be_used_is_told(world, proxies, provider, reason):
    world.apply("models", ai(llm=provider))
    world.wait_printed(f"Backend default/models Accepted=False.*{reason}")
    proxies(world)
    assert until(lambda: ask(world).status, 10, "an answer") == 500
