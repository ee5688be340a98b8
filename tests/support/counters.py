"""Services that count for all proxies: a Redis server, and Envoy's rate limit service, both the real ones."""

import pathlib
import shutil
import socket
import subprocess

from . import paths
from .process import Process
from .wait import until

# Debian's tools hold the server too: it is one program, which looks at its name. So no package starts a service.
REDIS = "/usr/bin/redis-check-rdb"


class Redis(Process):
    """A Redis server without a disk; `arguments` are its own."""

    def __init__(self, folder: pathlib.Path, port: int, *arguments, tls: tuple | None = None):
        self.port, self._tls, self._password = port, tls, None
        server = folder / "redis-server"
        if not server.exists():
            server.symlink_to(REDIS)
        listen = ["--port", port]
        if tls:
            certificate, key, authority = tls
            listen = ["--port", 0, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key]
            listen += ["--tls-ca-cert-file", authority, "--tls-auth-clients", "no"]
        if "--requirepass" in arguments:
            self._password = arguments[arguments.index("--requirepass") + 1]
        super().__init__([server, *listen, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *arguments], cwd=folder)
        until(lambda: self.cli("ping") == "PONG", 10, "Redis")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def cli(self, *command) -> str:
        tls = ["--tls", "--cacert", self._tls[2]] if self._tls else []
        password = ["-a", self._password, "--no-auth-warning"] if self._password else []
        command = ["redis-cli", "-h", "127.0.0.1", "-p", self.port, *tls, *password, *command]
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=10).stdout.strip()


class RateLimitService(Process):
    """Envoy's rate limit service over a Redis server; `config` is the text of its one file."""

    def __init__(self, folder: pathlib.Path, ports, redis: Redis, config: str):
        self.port = ports.free()
        root = folder / "ratelimit"
        shutil.rmtree(root, ignore_errors=True)
        (root / "config").mkdir(parents=True)
        (root / "config" / "shop.yaml").write_text(config)
        env = {
            "RUNTIME_ROOT": str(root),
            "RUNTIME_SUBDIRECTORY": "",
            "RUNTIME_WATCH_ROOT": "false",
            "REDIS_SOCKET_TYPE": "tcp",
            "REDIS_URL": redis.address,
            "USE_STATSD": "false",
            "LOG_LEVEL": "warn",
            "GRPC_HOST": "127.0.0.1",
            "GRPC_PORT": str(self.port),
            "HOST": "127.0.0.1",
            "PORT": str(ports.free()),
            "DEBUG_HOST": "127.0.0.1",
            "DEBUG_PORT": str(ports.free()),
            "PATH": "/usr/bin:/bin",
        }
        super().__init__([program()], cwd=root, env=env)
        until(self._listens, 20, "the rate limit service")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def _listens(self):
        assert self.running, "\n".join(self.err[-20:])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def program() -> pathlib.Path:
    built = paths.ROOT / "build" / "bin" / "ratelimit"
    if not built.exists():
        subprocess.run([paths.TESTS / "ratelimit" / "build.sh"], check=True, timeout=300)
    return built
