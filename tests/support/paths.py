"""Where things are: the programs under test, and what setup.sh installed."""

import os
import pathlib
import platform

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
DATA = TESTS / "data"
BOOK = DATA / "book"
ENVIRONMENT = pathlib.Path(os.environ.get("AGENTGATEWAY_TESTS_ENV", ROOT / "build" / "tests"))
NODE = ENVIRONMENT / "node"
VENV_BIN = ENVIRONMENT / "venv" / "bin"
UV_CACHE = ENVIRONMENT / "uv"
EVERYTHING = NODE / "node_modules" / ".bin" / "mcp-server-everything"


def _program(variable: str, name: str) -> pathlib.Path:
    if told := os.environ.get(variable):
        return pathlib.Path(told)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    # Builds name their target explicitly, see .cargo/config.toml.
    path = target / f"{platform.machine()}-unknown-linux-gnu" / "debug" / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built; run cargo build, or set {variable}")
    return path


def agentgateway() -> pathlib.Path:
    return _program("AGENTGATEWAY_BIN", "agentgateway")


def controlplane() -> pathlib.Path:
    return _program("CONTROLPLANE_BIN", "agentgateway-controlplane")
