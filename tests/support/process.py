"""A program under test: started, watched by its output, and ended by its process group."""

import os
import re
import signal
import subprocess
import threading
import time


class Process:
    """`out` and `err` are the lines so far; `wait_for` waits for one to appear."""

    def __init__(self, command, cwd=None, env=None):
        self._changed = threading.Condition()
        self.out: list[str] = []
        self.err: list[str] = []
        self._child = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own: its children (MCP servers over stdio) can be found and ended with it.
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self._child.stdout, self.out), (self._child.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self._changed:
                lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def wait_for(self, pattern: str, lines=None, timeout: float = 10.0, since: int = 0) -> re.Match:
        """The first line, from number `since`, that the pattern is found in. Of stderr unless told."""
        lines = self.err if lines is None else lines
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in lines[since:]:
                    if found := expression.search(line):
                        return found
                since = len(lines)
                left = deadline - time.monotonic()
                if left <= 0 or (not self.running and not any(r.is_alive() for r in self._readers)):
                    tail = "\n".join((self.err + self.out)[-40:])
                    state = "runs" if self.running else f"ended with {self._child.returncode}"
                    raise AssertionError(f"no line with {pattern!r}; the program {state}:\n{tail}")
                self._changed.wait(min(left, 0.2))

    def signal(self, number: int):
        os.kill(self.pid, number)

    def wait(self, timeout: float = 15.0) -> int:
        code = self._child.wait(timeout)
        for reader in self._readers:
            reader.join(2)
        return code

    def resident_bytes(self) -> int:
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024

    def children(self) -> list[int]:
        """Pids of the processes that it started, at any depth."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            try:
                tasks = os.listdir(f"/proc/{pid}/task")
            except FileNotFoundError:
                continue
            for task in tasks:
                try:
                    with open(f"/proc/{pid}/task/{task}/children") as file:
                        below = [int(child) for child in file.read().split()]
                except (FileNotFoundError, ProcessLookupError):
                    continue
                found += below
                todo += below
        return found

    def close(self, timeout: float = 10.0):
        """Ends it and all that it started."""
        below = self.children() if self.running else []
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        for pid in below:
            # Whatever is left of them; most have ended with their parent.
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    session = int(stat.read().rsplit(")", 1)[1].split()[3])
                if session == self.pid:
                    os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass
        for reader in self._readers:
            reader.join(1)
        for stream in (self._child.stdout, self._child.stderr):
            stream.close()
