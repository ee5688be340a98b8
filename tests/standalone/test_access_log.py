"""Access logs as a policy: what is logged, how, and where it goes."""

import json
import time

import pytest

from support.collector import Collector
from support.proxy import to
from support.tokens import ISSUER, Key, bearer
from support.wait import until


@pytest.fixture
def host(backend):
    return backend()


@pytest.fixture
def collector(tmp_path, ports):
    running = Collector(tmp_path, ports)
    yield running
    running.close()


def lines(path, count=1):
    def read():
        found = path.read_text().splitlines() if path.exists() else []
        return found if len(found) >= count else None

    return until(read, 10, f"{count} lines in {path}")


def test_json_with_fields_by_expressions(gateway, host, tmp_path):
    path = tmp_path / "access.log"
    log = {
        "format": "Json",
        "filter": "response.code != 204 && fields.duration_ms >= 0.0",
        "add": {
            "agent": "request.headers['user-agent']",
            "server": "response.headers['x-answer']",
            "absent": "request.headers['x-absent']",
            "status": "string(response.code)",
            "slow": "fields.duration_ms > 100000.0",
        },
        "remove": ["host", "version"],
        "sink": {"file": str(path)},
    }
    proxy = gateway(to(host), policies={"accessLog": [log]})
    proxy.get("/skipped?status=204")
    proxy.get("/one?header=x-answer:yes", headers={"user-agent": "test/1"})
    line = json.loads(lines(path)[0])
    assert (line["path"], line["agent"], line["server"], line["status"], line["slow"]) == ("/one", "test/1", "yes", "200", False)
    assert not {"host", "version", "absent"} & line.keys()
    assert line["endpoint"] == host.address and line["bytes"] > 0
    # The process's own log does not tell of it again.
    time.sleep(0.5)
    assert not [text for text in proxy.out if "/one" in text or "/skipped" in text]


def test_the_most_specific_policy_counts_and_an_empty_one_is_silent(gateway, host, tmp_path):
    gateway_log, route_log = tmp_path / "gateway.log", tmp_path / "route.log"
    proxy = gateway(
        to(host, matches=[{"path": {"pathPrefix": "/own"}}], policies={"accessLog": [{"sink": {"file": str(route_log)}}]}),
        to(host, matches=[{"path": {"pathPrefix": "/silent"}}], policies={"accessLog": []}),
        to(host),
        policies={"accessLog": [{"sink": {"file": str(gateway_log)}}]},
    )
    for path in ("/silent", "/own", "/other"):
        assert proxy.get(path).status == 200
    assert "path=/own" in lines(route_log)[0]
    assert [line for line in lines(gateway_log) if "path=/other" in line]
    assert len(lines(gateway_log)) == len(lines(route_log)) == 1


def test_a_rotated_file_is_begun_anew_and_reloads_keep_it(gateway, host, tmp_path):
    path = tmp_path / "access.log"
    proxy = gateway(to(host), policies={"accessLog": [{"sink": {"file": str(path)}}]})
    proxy.get("/before")
    lines(path)
    path.rename(tmp_path / "access.log.1")
    proxy.reload(proxy.config.read_text() + "\n")
    time.sleep(1.1)
    proxy.get("/after")
    assert "path=/after" in lines(path)[0]
    assert "path=/before" in (tmp_path / "access.log.1").read_text()
    # What cannot be written is counted, and no request fails for it.
    path.unlink()
    path.mkdir()
    time.sleep(1.1)
    assert proxy.get("/lost").status == 200
    until(lambda: proxy.metric("agentgateway_access_log_lines_dropped_total") >= 1, 10, "the line to be counted")


def test_lines_to_standard_output_beside_the_processs(gateway, host):
    proxy = gateway(
        to(host, matches=[{"path": {"pathPrefix": "/json"}}], policies={"accessLog": [{"format": "Json"}]}),
        to(host),
    )
    proxy.get("/json")
    proxy.get("/text")
    assert json.loads(proxy.access_lines('"path":"/json"')[0])["status"] == 200
    proxy.access_lines("path=/text")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_records_for_a_collector(gateway, host, collector, protocol, tmp_path):
    key = Key("ES256")
    to_collector = {
        f"{protocol}Service": {"host": getattr(collector, protocol)},
        "serviceName": "edge",
        "resourceAttributes": {"deployment.environment.name": "test"},
    }
    jwt = {"issuer": ISSUER, "jwks": {"inline": json.dumps(key.jwks)}}
    log = {"filter": "response.code == 200", "add": {"user": "jwt.sub"}, "sink": {"openTelemetry": to_collector}}
    proxy = gateway(to(host, policies={"jwtAuth": jwt, "accessLog": [log]}))
    assert proxy.get("/refused").status == 401
    assert proxy.get("/logged", headers=bearer(key.token(sub="ada"))).status == 200
    [record] = collector.logs(path="/logged")
    assert record["attributes"]["user"] == "ada" and record["attributes"]["status"] == 200
    assert record["resource"]["service.name"] == "edge"
    assert record["resource"]["deployment.environment.name"] == "test"
    assert record["body"]["stringValue"] == "GET /logged 200"
    assert abs(int(record["timeUnixNano"]) / 1e9 - time.time()) < 30
    until(lambda: proxy.metric("agentgateway_telemetry_exported_total") >= 1, 10, "the record to be counted")


def test_a_collector_that_is_away_delays_nothing_and_is_counted(gateway, host, ports):
    nowhere = {"openTelemetry": {"grpcService": {"host": f"127.0.0.1:{ports.free()}", "requestTimeout": "200ms"}}}
    proxy = gateway(to(host), policies={"accessLog": [{"sink": nowhere}]})
    start = time.monotonic()
    assert [proxy.get().status for _ in range(20)] == [200] * 20
    assert time.monotonic() - start < 5
    until(lambda: proxy.metric("agentgateway_telemetry_failed_total") >= 20, 20, "the records to be counted")


def test_what_is_wrong_is_refused_with_its_place(start, host, ports):
    from support.proxy import routes

    for log, message in (
        ({"filter": "nothing.here"}, "nothing"),
        ({"add": {"a b": "1"}}, "no name of a field"),
        ({"sink": {}}, "exactly one of file and openTelemetry"),
        ({"sink": {"openTelemetry": {}}}, "exactly one of grpcService and httpService"),
        ({"unknown": 1}, "unknown"),
    ):
        proxy = start(routes(ports.free(), to(host), policies={"accessLog": [log]}), ready=False)
        assert proxy.wait() != 0
        assert message in "\n".join(proxy.err), (log, proxy.err)
