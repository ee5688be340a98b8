"""Limits under many connections, two replicas with one limit, and what becomes of requests in an outage: with real proxies."""

import contextlib
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))

from support.counters import Redis  # noqa: E402
from support.echo import Backend, Loop  # noqa: E402
from support.load import crowd  # noqa: E402
from support.ports import Ports  # noqa: E402
from support.proxy import Proxy, routes, to  # noqa: E402
from support.wait import until  # noqa: E402

LIMIT = 1000
CONNECTIONS = 64


class World:
    """Proxies and backends, ended together."""

    def __init__(self, stack: contextlib.ExitStack):
        self._stack, self._loop, self.ports = stack, Loop(), Ports()
        stack.callback(self.ports.close)
        stack.callback(self._loop.close)
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._count = 0

    def backend(self, name="backend") -> Backend:
        backend = Backend(self._loop, name, self.ports.free())
        self._stack.callback(backend.stop)
        return backend

    def redis(self) -> Redis:
        return self._closed(Redis(self.folder, self.ports.free()))

    def gateway(self, *all_routes, config=None) -> Proxy:
        self._count += 1
        folder = self.folder / f"proxy{self._count}"
        folder.mkdir()
        proxy = self._closed(Proxy(folder, self.ports, routes(self.ports.free(), *all_routes, config=config)))
        return proxy.wait_ready()

    def _closed(self, made):
        self._stack.callback(made.close)
        return made


def shares(*hosts, **policies):
    return {"static": {"hosts": [{"host": host.host, "port": host.port} for host in hosts]}, "policies": policies}


def local_limit(world: World) -> dict:
    host = world.backend()
    proxy = world.gateway(to(host, policies={"localRateLimit": [{"maxTokens": LIMIT, "fillInterval": "1h"}]}))
    found = crowd(proxy.port, 40, CONNECTIONS)
    return {"limit": LIMIT, "connections": CONNECTIONS, "sent": sum(found.values()), "passed": found[200], "refused": found[429]}


def global_limit(world: World) -> dict:
    host, redis = world.backend(), world.redis()
    bucket = {"maxTokens": LIMIT, "fillInterval": "1h"}
    limit = {"rateLimit": {"global": {"redis": {"host": redis.address, "buckets": [bucket]}, "timeout": "5s"}}}
    both = [world.gateway(to(host, policies=limit)) for _ in range(2)]
    found = [crowd(proxy.port, 20, CONNECTIONS) for proxy in both]
    return {
        "limit": LIMIT,
        "proxies": 2,
        "connections": CONNECTIONS,
        "passed": sum(f[200] for f in found),
        "refused": sum(f[429] for f in found),
    }


def breaker(world: World) -> dict:
    host = world.backend()
    proxy = world.gateway(to({"host": host.address, "policies": {"circuitBreakers": {"maxRequests": 8}}}))
    found = crowd(proxy.port, 1, CONNECTIONS, path="/?delay=1")
    start = time.monotonic()
    until(lambda: proxy.get().status == 200, 5, "the breaker to close")
    closed = time.monotonic() - start
    return {"bound": 8, "at_once": CONNECTIONS, "passed": found[200], "refused": found[503], "closed_after_ms": round(closed * 1000, 1)}


def ejection(world: World) -> dict:
    hosts = [world.backend(name) for name in ("a", "b", "c")]
    outlier = {"consecutive5xx": 3, "baseEjectionTime": "5s", "maxEjectionPercent": 50}
    # One of three answers with 500 what the path asks it to.
    proxy = world.gateway(to(shares(*hosts, outlierDetection=outlier)))
    hosts[1].obeys = hosts[2].obeys = False
    start, failed, sent = time.monotonic(), 0, 0
    while proxy.metric("agentgateway_upstream_endpoints_ejected") == 0:
        for _ in range(10):
            failed += proxy.get("/?status=500").status == 500
            sent += 1
    ejected = time.monotonic() - start
    after = [proxy.get("/?status=500").status for _ in range(100)]
    hosts[0].obeys = False
    until(lambda: proxy.metric("agentgateway_upstream_endpoints_ejected") == 0, 15, "the end of the ejection")
    lasted, before = time.monotonic() - start - ejected, len(hosts[0].seen)
    back = [proxy.get().status for _ in range(100)]
    return {
        "failed_before": failed,
        "failed_of_100_while_ejected": after.count(500),
        "ejected_for_s": round(lasted, 2),
        "failed_of_100_afterwards": 100 - back.count(200),
        "requests_to_it_of_100_afterwards": len(hosts[0].seen) - before,
    }


def outage(world: World) -> dict:
    result = {}
    for name, constraint in (("without", {}), ("with", {"retryConstraint": {"budget": {"percent": 20, "interval": "10s"}, "minRetryRate": {"count": 0}}})):
        host = world.backend()
        retry = {"attempts": 3, "backoff": "1ms", "codes": [503]}
        proxy = world.gateway(to({"host": host.address, "policies": constraint}, policies={"retry": retry}))
        found = crowd(proxy.port, 30, CONNECTIONS, path="/?status=503")
        result[f"tries_{name}_budget"] = len(host.seen)
        result["requests"] = sum(found.values())
    return result


PARTS = {"local_limit": local_limit, "global_limit": global_limit, "circuit_breaker": breaker, "ejection": ejection, "outage": outage}


def run() -> tuple[dict, list[str]]:
    found = {}
    for name, part in PARTS.items():
        with contextlib.ExitStack() as stack:
            found[name] = part(World(stack))
        print(f"{name}: {found[name]}", flush=True)
    failures = []
    for name in ("local_limit", "global_limit"):
        if found[name]["passed"] != LIMIT:
            failures.append(f"{name}: {found[name]['passed']} of {LIMIT} passed")
    if found["circuit_breaker"]["passed"] != 8:
        failures.append(f"circuit_breaker: {found['circuit_breaker']}")
    if found["ejection"]["failed_of_100_while_ejected"] or not found["ejection"]["requests_to_it_of_100_afterwards"]:
        failures.append(f"ejection: {found['ejection']}")
    if found["outage"]["tries_with_budget"] > 1.2 * found["outage"]["requests"]:
        failures.append(f"outage: {found['outage']}")
    return found, failures


def report(found: dict) -> str:
    local, shared, breaker, ejected, outage = (found[name] for name in PARTS)
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| Local limit of {local['limit']}, {local['connections']} connections, all workers | {local['passed']} of {local['sent']} passed |",
            f"| Limit of {shared['limit']} in Redis, two proxies, {shared['connections']} connections to each | {shared['passed']} passed, {shared['refused']} refused |",
            f"| Circuit breaker of {breaker['bound']} requests, {breaker['at_once']} at once | {breaker['passed']} passed, {breaker['refused']} refused; the next passed after {breaker['closed_after_ms']} ms |",
            f"| One of three endpoints fails | {ejected['failed_before']} requests failed before it was ejected, {ejected['failed_of_100_while_ejected']} of 100 while it was, for {ejected['ejected_for_s']} s; then it got {ejected['requests_to_it_of_100_afterwards']} of 100 |",
            f"| Outage, 3 retries each, {outage['requests']} requests | {outage['tries_without_budget']} tries without a budget, {outage['tries_with_budget']} with one of 20 % |",
        ]
    )
