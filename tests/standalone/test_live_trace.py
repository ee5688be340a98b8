"""The live trace of the admin port: each step of a request, no secrets, bounds, and nothing while nobody watches."""

import http.client
import json
import threading

import pytest

from support.http1 import request
from support.proxy import to

SECRET = "do-not-show-me"


class Watcher:
    """Reads `/trace` on a thread until the answer ends."""

    def __init__(self, proxy, query):
        self.connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=30)
        self.connection.request("GET", f"/trace?{query}")
        # The head comes once the watch is set.
        self.answer = self.connection.getresponse()
        self.steps = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.answer:
            self.steps.append(json.loads(line))

    def all(self):
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.connection.close()
        return self.steps


@pytest.fixture
def host(backend):
    return backend()


def test_each_step_of_a_request_is_told(gateway, host):
    rules = {"authorization": {"rules": [{"allow": "request.method == 'GET'"}]}}
    retry = {"retry": {"attempts": 1, "codes": [503], "backoff": "1ms"}}
    proxy = gateway(to(host, name="web", policies={**rules, **retry}))
    watcher = Watcher(proxy, "host=watched.test&path=/a&limit=2&seconds=20")
    assert watcher.answer.getheader("content-type") == "application/x-ndjson"
    secrets = {"authorization": f"Bearer {SECRET}", "cookie": f"session={SECRET}", "x-own-key": SECRET, "user-agent": "curl"}
    assert proxy.get(f"/a?status=503&first=1&id=t&key={SECRET}", headers={"host": "watched.test", **secrets}).status == 200
    assert proxy.get("/a", headers={"host": "other.test"}).status == 200
    assert proxy.get("/b", headers={"host": "watched.test"}).status == 200
    assert proxy.get("/a", "POST", headers={"host": "watched.test"}, body=b"x").status == 403
    steps = watcher.all()
    assert SECRET not in json.dumps(steps)
    numbers = sorted({step["request"] for step in steps})
    first, second = ([step for step in steps if step["request"] == number] for number in numbers)
    assert [step["step"] for step in first] == ["request", "listener", "route", "policy", "attempt", "attempt", "response", "end"]
    told = {step["step"]: step for step in first}
    assert (told["request"]["path"], told["request"]["headers"]["user-agent"]) == ("/a", "curl")
    assert {told["request"]["headers"][name] for name in ("authorization", "cookie", "x-own-key")} == {"***"}
    assert told["route"]["name"] == "default/web.0.0.listener0"
    assert (told["policy"]["policy"], told["policy"]["verdict"]) == ("authorization", "passed")
    attempts = [step for step in first if step["step"] == "attempt"]
    assert [attempt["status"] for attempt in attempts] == [503, 200] and attempts[0]["endpoint"] == host.address
    assert told["end"]["status"] == 200 and told["end"]["bytes"] > 0
    assert [step["at_us"] for step in first] == sorted(step["at_us"] for step in first)
    policy = next(step for step in second if step["step"] == "policy")
    assert (policy["verdict"], policy["status"]) == ("answered", 403) and policy["reason"]
    assert [step["step"] for step in second] == ["request", "listener", "route", "policy", "response", "end"]


def test_the_answer_ends_in_time_and_what_is_asked_for_is_checked(gateway, host):
    proxy = gateway(to(host))
    assert Watcher(proxy, "seconds=1").all() == []
    for query in ("limit=0", "seconds=601", "hots=a"):
        assert request(proxy.admin, f"/trace?{query}").status == 400


def test_few_may_watch_and_whoever_goes_makes_place(gateway, host):
    proxy = gateway(to(host))
    watchers = [Watcher(proxy, "seconds=3&host=nobody.test") for _ in range(4)]
    assert request(proxy.admin, "/trace").status == 429
    assert all(watcher.all() == [] for watcher in watchers)
    last = Watcher(proxy, "limit=1&seconds=20")
    assert last.answer.status == 200 and proxy.get().status == 200
    assert [step["step"] for step in last.all()][-1] == "end"
