"""The programs under test as processes of this machine: what they weigh and what they cost."""

import os
import pathlib
import re
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
PROXY, CONTROLPLANE = "agentgateway", "agentgateway-controlplane"


class Program:
    """A process by its pid."""

    def __init__(self, pid):
        self.pid = pid

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_megabytes(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def find(program, pod_uid):
    """The largest process of that program in a pod (the init of a container is small)."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if pathlib.Path(os.readlink(process / "exe")).name != program:
                continue
            if pod_uid not in (process / "cgroup").read_text():
                continue
            one = Program(int(process.name))
            found.append((one.resident_megabytes(), one))
        except (OSError, TypeError):
            continue
    if not found:
        raise LookupError(f"no process {program} of pod {pod_uid}")
    return max(found, key=lambda pair: pair[0])[1]


def idle_share(program, seconds=10.0):
    """CPU share of one core over some seconds in which nothing is asked of it."""
    begin, at = program.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (program.cpu_seconds() - begin) / (time.monotonic() - at)


class Backend:
    """An nginx on the address of the test clusters' bridge, which pods reach; answers 200 on each of its ports."""

    def __init__(self, folder, address, ports):
        self.address, self.ports = address, list(ports)
        listen = " ".join(f"listen {address}:{port};" for port in self.ports)
        config = pathlib.Path(folder) / "backend.conf"
        config.write_text(
            f"worker_processes 1; daemon off; master_process off; pid {folder}/backend.pid; error_log {folder}/backend.err;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log off; keepalive_requests 100000000; server {{ {listen} location / {{ return 200 ok; }} }} }}\n"
        )
        self.process = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
