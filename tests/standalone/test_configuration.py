"""The configuration file: what is said of wrong ones, what is kept, and the commands around it."""

import json
import os
import signal
import subprocess
import time

import jsonschema
import pytest
import yaml

from support import paths
from support.proxy import clean_environment, document, routes, to
from support.tokens import ISSUER, Key, bearer
from support.wait import until

WRONG = {
    "not YAML": ("binds: [\n", 2, 1, ""),
    "type": ("binds:\n- port: many\n", 2, 9, "binds[0].port"),
    "range": ("binds:\n- port: 70000\n", 2, 9, "binds[0].port"),
    "unknown field": ("binds:\n- port: 3000\n  listners: []\n", 3, 3, "binds[0].listners"),
    "unknown policy": (
        "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - policies:\n        jwtAuht: {}\n",
        6,
        9,
        "binds[0].listeners[0].routes[0].policies.jwtAuht",
    ),
    "rule": (
        "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - policies:\n        authorization:\n          rules:\n"
        "          - allow: 'request.path =='\n",
        8,
        20,
        "binds[0].listeners[0].routes[0].policies.authorization.rules[0].allow",
    ),
    "unknown variable": (
        "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - policies:\n        authorization:\n          rules:\n"
        "          - deny: 'reqest.path == \"/\"'\n",
        8,
        19,
        "binds[0].listeners[0].routes[0].policies.authorization.rules[0].deny",
    ),
    "key file": (
        "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - policies:\n        jwtAuth:\n          issuer: me\n"
        "          jwks:\n            file: ./absent\n",
        9,
        19,
        "binds[0].listeners[0].routes[0].policies.jwtAuth.jwks.file",
    ),
    "regular expression": (
        "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - matches:\n      - path:\n          regex: '('\n",
        7,
        18,
        "binds[0].listeners[0].routes[0].matches[0].path.regex",
    ),
    "backend": (
        "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - backends:\n      - host: no-port\n",
        6,
        15,
        "binds[0].listeners[0].routes[0].backends[0].host",
    ),
    "stdio and mcp": (
        "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - backends:\n      - mcp:\n          targets:\n"
        "          - name: both\n            stdio: {cmd: a}\n            mcp: {host: a, port: 1}\n",
        None,
        None,
        "binds[0].listeners[0].routes[0].backends[0].mcp.targets[0]",
    ),
}


def run(*arguments, cwd=None):
    done = subprocess.run(
        [paths.agentgateway(), *map(str, arguments)], capture_output=True, text=True, timeout=20, cwd=cwd, env=clean_environment()
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_file_line_column_and_field(tmp_path, name):
    text, line, column, field = WRONG[name]
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    code, _, said = run("--validate-only", "-f", file)
    assert code != 0
    place = f"{file}:{line}:{column}: " if line else f"{file}:"
    assert place in said, said
    assert field in said, said


def test_unknown_fields_are_told_what_is_known(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("binds:\n- port: 3000\n  prt: 1\n")
    _, _, said = run("--validate-only", "-f", file)
    assert ':3:3: binds[0].prt: unknown field; did you mean "port"?' in said
    file.write_text("binds:\n- port: 3000\n  nothing-like-it: 1\n")
    _, _, said = run("--validate-only", "-f", file)
    assert "binds[0].nothing-like-it: unknown field" in said and "listeners" in said


def test_nothing_starts_with_a_wrong_file(start, ports, backend):
    text = routes(ports.free(), to(backend(), policies={"authorization": {"rules": [{"allow": "request.path =="}]}}))
    proxy = start(text, ready=False)
    assert proxy.wait() != 0
    said = "\n".join(proxy.err)
    assert f"{proxy.config}:" in said and "authorization.rules[0].allow" in said
    assert "listening" not in said


@pytest.mark.parametrize("name", WRONG)
def test_on_reload_the_running_configuration_stays(gateway, backend, name):
    proxy = gateway(to(backend("old")))
    port = proxy.port
    before = proxy.dump()
    proxy.write(WRONG[name][0])
    proxy.wait_for(r"configuration was not changed")
    assert WRONG[name][3] in "\n".join(proxy.err)
    assert proxy.get(port=port).json()["backend"] == "old"
    assert proxy.dump() == before
    proxy.reload(routes(port, to(backend("new"))))
    assert proxy.get(port=port).json()["backend"] == "new"


def test_a_file_that_vanishes_changes_nothing(gateway, backend):
    proxy = gateway(to(backend()))
    port = proxy.port
    proxy.config.unlink()
    proxy.wait_for("cannot be read")
    assert proxy.get(port=port).status == 200


def test_reload_of_a_file_that_is_written_in_place(gateway, backend):
    proxy = gateway(to(backend("old")))
    port = proxy.port
    proxy.config.write_text(routes(port, to(backend("new"))))
    until(lambda: proxy.get(port=port).json()["backend"] == "new", what="the new backend")


def test_what_else_happens_in_the_folder_is_no_change(gateway, backend):
    """A log beside the file, or reading the file, must neither load it again nor keep a change from being seen."""
    proxy = gateway(to(backend("old")))
    port = proxy.port
    with open(proxy.folder / "beside.log", "w", buffering=1) as beside:
        for _ in range(40):
            beside.write("line\n")
            proxy.config.read_text()
            time.sleep(0.01)
        assert "\n".join(proxy.err).count("configuration loaded") == 1
        proxy.write(routes(port, to(backend("new"))))

        def changed():
            beside.write("line\n")
            return proxy.get(port=port).json()["backend"] == "new"

        until(changed, timeout=5, what="the new backend")


def test_a_change_of_a_key_file_is_a_change(gateway, backend, tmp_path):
    old, new = Key("ES256"), Key("ES256")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "pub-key").write_text(old.pem)
    jwt = {"issuer": ISSUER, "jwks": {"file": "keys/pub-key"}}
    proxy = gateway(to(backend(), policies={"jwtAuth": jwt}), cwd=tmp_path)
    assert proxy.get(headers=bearer(old.token())).status == 200
    (tmp_path / "keys" / "pub-key").write_text(new.pem)
    until(lambda: proxy.get(headers=bearer(new.token())).status == 200, what="the new key")
    assert proxy.get(headers=bearer(old.token())).status == 401


def test_hangup_loads_again(gateway, backend):
    proxy = gateway(to(backend()))
    seen = len(proxy.err)
    proxy.signal(signal.SIGHUP)
    proxy.wait_for("configuration loaded", since=seen)
    assert proxy.get().status == 200


def test_reload_of_a_mounted_config_map(start, ports, backend, tmp_path):
    """The kubelet changes a ConfigMap's files by a link to another folder."""
    port = ports.free()
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "agentgateway.yaml").write_text(routes(port, to(backend(version))))
    (tmp_path / "..data").symlink_to("old")
    (tmp_path / "agentgateway.yaml").symlink_to("..data/agentgateway.yaml")
    proxy = start(None, "-f", tmp_path / "agentgateway.yaml")
    assert proxy.get(port=port).json()["backend"] == "old"
    (tmp_path / "..data_tmp").symlink_to("new")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    until(lambda: proxy.get(port=port).json()["backend"] == "new", what="the new backend")


def test_validate_only(tmp_path, backend):
    file = tmp_path / "good.yaml"
    file.write_text(document([{"port": 1, "listeners": [{"routes": [to("127.0.0.1:2")]}]}]))
    code, said, _ = run("--validate-only", "-f", file)
    assert code == 0 and "valid" in said
    code, _, said = run("--validate-only", "-f", tmp_path / "absent.yaml")
    assert code != 0 and "absent.yaml" in said


def test_warns_of_a_route_without_backends(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("binds:\n- port: 1\n  listeners:\n  - routes:\n    - name: empty\n")
    code, _, said = run("--validate-only", "-f", file)
    assert code == 0
    assert f"{file}:5:7: binds[0].listeners[0].routes[0]" in said and "warning" in said


def test_schema_is_one_and_accepts_what_loads(backend):
    code, text, _ = run("--schema")
    assert code == 0
    schema = json.loads(text)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    for book in sorted(paths.BOOK.glob("*.yaml")):
        validator(schema).validate(yaml.safe_load(book.read_text()))
    wrong = yaml.safe_load(WRONG["range"][0])
    assert not validator(schema).is_valid(wrong)


def test_copy_self(tmp_path):
    copy = tmp_path / "copied"
    code, _, said = run("--copy-self", copy)
    assert code == 0, said
    assert copy.read_bytes() == paths.agentgateway().read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o755
    version = subprocess.run([copy, "--version"], capture_output=True, text=True, timeout=10)
    assert version.returncode == 0 and version.stdout.startswith("agentgateway ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copied"], "nothing else is left"


def test_copy_self_says_why_not(tmp_path):
    code, _, said = run("--copy-self", tmp_path / "absent" / "copy")
    assert code != 0 and "absent" in said


def test_without_a_configuration_it_says_how_to_give_one(tmp_path):
    code, said, error = run()
    assert code != 0 and "--file" in said + error and "XDS_ADDRESS" in said + error


def test_an_address_in_use_is_named(gateway, start, ports, backend):
    first = gateway(to(backend()))
    second = start(routes(first.port, to(backend())), ready=False)
    assert second.wait() != 0
    assert f"127.0.0.1:{first.port}" in "\n".join(second.err)


def test_settings_of_the_file_and_of_the_command_line(start, ports, backend, tmp_path):
    """The command line wins over the file."""
    text = routes(ports.free(), to(backend()), config={"workers": 1, "adminAddr": "127.0.0.1:1", "logging": {"format": "json"}})
    proxy = start(text, "--workers", "2")
    started = [json.loads(line) for line in proxy.err if "agentgateway started" in line]
    assert started[0]["workers"] == 2
    assert proxy.dump()["binds"], "--admin-addr wins over adminAddr"
