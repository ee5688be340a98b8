"""Names and passwords."""

import base64
import functools
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.echo import headers_of
from support.http1 import Client
from support.proxy import to

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # of "secret", by `htpasswd -s`


def basic(name, password):
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def crypt(kind, password):
    return subprocess.run(["openssl", "passwd", f"-{kind}", "-salt", "abcdefgh", password], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def htpasswd():
    return "\n".join([f"ada:{SHA}", f"bob:{crypt(5, 'swordfish')}", f"sam:{crypt(6, 'päss:word')}"])


@pytest.fixture
def host(backend):
    return backend()


def test_names_and_passwords(gateway, host, htpasswd):
    policy = {"realm": "people", "htpasswd": {"inline": htpasswd}}
    proxy = gateway(to(host, policies={"basicAuth": policy, "authorization": {"rules": [{"deny": "basicAuth.username == 'bob'"}]}}))
    refused = proxy.get()
    assert (refused.status, refused.header("www-authenticate")) == (401, 'Basic realm="people", charset="UTF-8"')
    for _ in range(2):
        assert proxy.get(headers=basic("ada", "secret")).status == 200
        assert proxy.get(headers=basic("sam", "päss:word")).status == 200
        assert proxy.get(headers=basic("bob", "swordfish")).status == 403, "rules see the name"
        for name, password in (("ada", "Secret"), ("ada", ""), ("sam", "secret"), ("eve", "secret"), ("", "secret")):
            assert proxy.get(headers=basic(name, password)).status == 401
    assert "authorization" not in headers_of(proxy.get(headers=basic("ada", "secret")).json())
    assert proxy.get(headers={"authorization": "Basic %%%"}).status == 401
    assert proxy.get(headers={"authorization": "Bearer abc"}).status == 401
    dump = json.dumps(proxy.dump())
    assert "ada" in dump and SHA[5:] not in dump and "$6$" not in dump


def test_optional_and_passthrough(gateway, host, tmp_path, htpasswd):
    file = tmp_path / "users"
    file.write_text(htpasswd)
    policies = {"basicAuth": {"mode": "optional", "htpasswd": {"file": str(file)}}, "backendAuth": {"passthrough": {}}}
    proxy = gateway(to(host, policies=policies))
    assert proxy.get().status == 200
    assert proxy.get(headers=basic("ada", "wrong")).status == 401
    assert headers_of(proxy.get(headers=basic("ada", "secret")).json())["authorization"] == basic("ada", "secret")["authorization"]


def test_hashing_holds_no_other_request_up(gateway, host):
    """SHA-512 of crypt with many rounds takes long; requests of the same worker go on meanwhile, and a right password is
    remembered."""
    slow = subprocess.run(
        ["perl", "-e", r'print crypt("secret", "\$6\$rounds=300000\$abcdefgh")'], capture_output=True, text=True, check=True
    ).stdout
    route = to(host, matches=[{"path": {"pathPrefix": "/private"}}], policies={"basicAuth": {"htpasswd": {"inline": f"ada:{slow}"}}})
    proxy = gateway(route, to(host), config={"workers": 1})
    private = functools.partial(proxy.get, "/private", headers=basic("ada", "secret"))
    with ThreadPoolExecutor(1) as pool, Client(proxy.port) as public:
        public.request("/")
        start = time.monotonic()
        answer, waits = pool.submit(private), []
        while not answer.done():
            before = time.monotonic()
            assert public.request("/").status == 200
            waits.append(time.monotonic() - before)
        took = time.monotonic() - start
        assert answer.result().status == 200
        assert took > 0.05, "the password is too cheap for this test"
        assert max(waits) < took / 2, "the worker waited for the password"
    start = time.monotonic()
    assert private().status == 200
    assert time.monotonic() - start < took / 2, "it is remembered"


def test_what_is_not_hashed_is_no_password(gateway, host, tmp_path):
    for line, reason in (("ada:secret-text", "is not hashed"), ("ada:$apr1$abc$secret-text", "MD5 is not supported")):
        proxy = gateway(to(host, policies={"basicAuth": {"htpasswd": {"inline": line}}}), ready=False)
        assert proxy.wait() != 0
        told = "\n".join(proxy.err)
        assert reason in told and "secret-text" not in told
