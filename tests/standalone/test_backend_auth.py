"""How the gateway authenticates to backends: a key of its own, and signatures that AWS's own code finds right."""

import datetime
import json
import unittest.mock

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.echo import headers_of
from support.http1 import Client
from support.proxy import routes, to

ACCESS_KEY, SECRET_KEY, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "temporary-token=="


@pytest.fixture
def host(backend):
    return backend()


@pytest.mark.parametrize("level", ["listener", "route", "backend"])
def test_the_gateways_own_key(gateway, host, level, tmp_path):
    policies = {"backendAuth": {"key": {"value": {"inline": "${PROVIDER_KEY}"}}}}
    env = {"PROVIDER_KEY": "sk-provider"}
    if level == "listener":
        proxy = gateway(to(host), policies=policies, env=env)
    elif level == "route":
        proxy = gateway(to(host, policies=policies), env=env)
    else:
        proxy = gateway(to({"host": host.address, "policies": policies}), env=env)
    response = proxy.get(headers=[("authorization", "Bearer of-the-caller"), ("authorization", "Bearer second")])
    assert [v for n, v in response.json()["headers"] if n == "authorization"] == ["Bearer sk-provider"]
    assert "sk-provider" not in json.dumps(proxy.dump())
    assert "sk-provider" not in "\n".join(proxy.out + proxy.err)


def test_another_header_and_the_most_specific_policy(gateway, host, tmp_path):
    file = tmp_path / "key"
    file.write_text("from-a-file\n")
    policies = {"backendAuth": {"key": {"value": {"file": str(file)}, "header": "x-goog-api-key"}}}
    proxy = gateway(to(host, policies=policies), policies={"backendAuth": {"key": {"value": {"inline": "of-the-listener"}}}})
    headers = headers_of(proxy.get().json())
    assert headers["x-goog-api-key"] == "from-a-file" and "authorization" not in headers


def aws(**fields):
    return {"backendAuth": {"aws": {"region": "us-east-1", "service": "bedrock", "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY, **fields}}}


def expected(seen, body, service="bedrock", token=None):
    """The Authorization header that AWS's own code makes for the request that the backend got."""
    headers = dict(seen["headers"])
    given = headers["authorization"]
    signed = given.split("SignedHeaders=")[1].split(",")[0].split(";")
    when = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    kept = {name: headers[name] for name in signed if name not in ("x-amz-date", "x-amz-security-token")}
    request = AWSRequest(seen["method"], f"http://{headers['host']}{seen['target']}", headers=kept, data=body)
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(ACCESS_KEY, SECRET_KEY, token), service, "us-east-1")
    with unittest.mock.patch("botocore.auth.get_current_datetime", return_value=when.replace(tzinfo=None)):
        signer.add_auth(request)
    return given, request.headers["Authorization"]


TARGETS = ["/", "/model/anthropic.claude%3A0/invoke", "/a//b/c/", "/a b".replace(" ", "%20"), "/x?b=2&a=1&a=0&c&d=~%2F%20x", "/~-._/x?k=a%20b"]


@pytest.mark.parametrize("target", TARGETS)
def test_signatures_are_those_of_awss_own_code(gateway, host, target):
    proxy = gateway(to(host, policies=aws(sessionToken=TOKEN)))
    for method, body in (("GET", b""), ("POST", b'{"prompt": "hi"}')):
        headers = [("content-type", "application/json"), ("x-amz-target", "Service.Call"), ("authorization", "Bearer of-the-caller")]
        with Client(proxy.port) as client:
            assert client.request(target, method, headers, body).status == 200
        given, wanted = expected(host.seen[-1], body, token=TOKEN)
        assert given == wanted, target


def test_bodies_may_be_left_out_of_signatures(gateway, host):
    proxy = gateway(to(host, policies=aws(service="s3", unsignedPayload=True)))
    assert proxy.get("/bucket/a%2Fb", "PUT", body=b"x" * (2 << 20)).status == 200
    headers = headers_of({"headers": host.seen[-1]["headers"]})
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert host.seen[-1]["length"] == 2 << 20


def test_a_body_that_is_signed_has_a_bound(gateway, host):
    proxy = gateway(to(host, policies=aws()))
    assert proxy.get("/", "POST", body=b"x" * (1 << 20)).status == 200
    assert proxy.get("/", "POST", body=b"x" * ((1 << 20) + 1)).status == 413


def test_credentials_from_the_environment_and_from_a_file(gateway, host, tmp_path):
    env = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    proxy = gateway(to(host, policies={"backendAuth": {"aws": {"service": "bedrock"}}}), env=env)
    assert proxy.get().status == 200
    given, wanted = expected(host.seen[-1], b"")
    assert given == wanted
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = no\n[prod]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    fields = {"region": "us-east-1", "service": "bedrock", "credentialsFile": str(file), "profile": "prod"}
    proxy = gateway(to(host, policies={"backendAuth": {"aws": fields}}))
    assert proxy.get().status == 200
    given, wanted = expected(host.seen[-1], b"")
    assert given == wanted
    assert SECRET_KEY not in json.dumps(proxy.dump()) and ACCESS_KEY not in json.dumps(proxy.dump())


def test_without_credentials_nothing_starts(gateway, host):
    proxy = gateway(to(host, policies={"backendAuth": {"aws": {"region": "us-east-1", "service": "bedrock"}}}), ready=False)
    assert proxy.wait() != 0
    assert "the environment variable AWS_ACCESS_KEY_ID is not set" in "\n".join(proxy.err)
