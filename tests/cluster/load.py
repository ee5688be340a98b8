"""A steady load as clients make it: plain HTTP on new and on kept connections, and MCP sessions that call a tool.

Requests start when they are due, whether or not earlier ones have been answered, and every one that fails is kept with its
time and kind. An MCP client initialises again when it is told 404 for its session, as the protocol has it; nothing else is
ever repeated.
"""

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field

TIMEOUT_SECONDS = 5
MAX_HEAD = 64 * 1024


class Failure(Exception):
    """A request that was not answered as it should be; `kind` is what failures are counted by."""

    def __init__(self, kind, detail=""):
        super().__init__(f"{kind} {detail}".strip())
        self.kind = kind


@dataclass
class Stream:
    """What became of one kind of request."""

    name: str
    succeeded: int = 0
    # Starts of sessions after the first one of each client.
    initialised_again: int = 0
    # Moment (time.monotonic) and description.
    failures: list = field(default_factory=list)
    # Moments of the answers.
    answered: list = field(default_factory=list)

    @property
    def by_kind(self):
        kinds = {}
        for _, failure in self.failures:
            kinds[failure.kind] = kinds.get(failure.kind, 0) + 1
        return kinds

    def since(self, moment):
        return [failure for at, failure in self.failures if at >= moment]

    def first_after(self, moment):
        """When the first request after this moment succeeded."""
        return next((at for at in self.answered if at > moment), None)

    def __str__(self):
        text = f"{self.name}: {self.succeeded} answered, {len(self.failures)} failed"
        if self.failures:
            text += f" {self.by_kind} between {self.failures[0][0]:.1f} and {self.failures[-1][0]:.1f}"
        return text + (f", {self.initialised_again} sessions started again" if self.initialised_again else "")


class Connection:
    """One HTTP/1.1 connection; with `tls`, a context, encrypted."""

    def __init__(self, host, port, tls=None):
        self.host, self.port, self.tls = host, port, tls
        self.reader = self.writer = None

    async def request(self, method, path, headers=(), body=b""):
        """Status, headers (names in lower case) and body. Connects first where there is no open connection."""
        # An end that the server told between two requests is no failure: the next one goes on a new connection.
        if self.reader is not None and self.reader.at_eof():
            self.close()
        if self.reader is None:
            try:
                self.reader, self.writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
            except OSError as error:
                raise Failure("connect", str(error)) from error
        try:
            lines = [f"{method} {path} HTTP/1.1", f"host: {self.host}", f"content-length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers]
            self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await self.writer.drain()
            return await self.answer()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Failure("cut", repr(error)) from error
        except asyncio.CancelledError:
            self.close()
            raise

    async def answer(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {}
        for line in head[1:-2]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        else:
            body = b"" if status in (202, 204) else await self.reader.read()
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, body

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class McpClient:
    """A session of its own on a kept connection."""

    def __init__(self, host, port, path, tool, arguments):
        self.connection = Connection(host, port)
        self.path, self.tool, self.arguments = path, tool, arguments
        self.session = None
        self.started = 0
        self.last_id = 0

    async def call(self):
        """One tools/call; starts a session where there is none, once more where the server knows it no longer."""
        for _ in range(2):
            if self.session is None:
                await self.start()
            status, message = await self.send("tools/call", {"name": self.tool, "arguments": self.arguments})
            if status == 404:
                self.session = None
                continue
            if status != 200:
                raise Failure(f"status {status}", str(message))
            if "error" in message or message.get("result", {}).get("isError"):
                raise Failure("error in the answer", json.dumps(message))
            return
        raise Failure("status 404", "twice, with a new session between")

    async def start(self):
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}}
        status, message = await self.send("initialize", hello)
        if status != 200 or "result" not in message:
            self.session = None
            raise Failure(f"initialize {status}", json.dumps(message))
        self.started += 1
        status, _ = await self.send("notifications/initialized", None)
        if status != 202:
            raise Failure(f"initialized {status}")

    async def send(self, method, params):
        message = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            self.last_id += 1
            message |= {"id": self.last_id, "params": params}
        headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]
        if self.session and method != "initialize":
            headers += [("mcp-session-id", self.session), ("mcp-protocol-version", "2025-06-18")]
        status, head, body = await self.connection.request("POST", self.path, headers, json.dumps(message).encode())
        if method == "initialize":
            self.session = head.get("mcp-session-id")
        if status != 200 or params is None:
            return status, body[:200].decode(errors="replace")
        return status, self.answer_in(head, body)

    def answer_in(self, head, body):
        if head.get("content-type", "").startswith("text/event-stream"):
            data = [line[5:].strip() for line in body.decode().splitlines() if line.startswith("data:")]
            messages = [json.loads(text) for text in data if text]
        else:
            messages = [json.loads(body)]
        for message in messages:
            if message.get("id") == self.last_id:
                return message
        raise Failure("no answer", body[:200].decode(errors="replace"))


class Load:
    """Requests that go on from `with` to its end. `plain` is a path, `mcp` gives (name, path, tool, arguments, calls/s), and
    with `tls`, a context, plain requests are encrypted."""

    def __init__(self, host, port=80, plain="/", plain_per_second=150, mcp=(), tls=None):
        self.host, self.port, self.plain, self.tls = host, port, plain, tls
        self.new, self.kept = Stream("new connections"), Stream("kept connections")
        self.mcp = {name: Stream(name) for name, *_ in mcp}
        self.sources = [(self.on_new_connections, plain_per_second / 2), (self.on_kept_connections, plain_per_second / 2)]
        self.sources += [(self.mcp_source(*rest, self.mcp[name]), rate) for name, *rest, rate in mcp]
        self.thread = threading.Thread(target=lambda: asyncio.run(self.work()), daemon=True)
        self.stopping = threading.Event()
        # Kept connections that wait for their next request.
        self.idle = []

    @property
    def streams(self):
        return [self.new, self.kept, *self.mcp.values()]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        for stream in self.streams:
            print(f"load: {stream}")

    async def work(self):
        await asyncio.gather(*(self.paced(source(), rate) for source, rate in self.sources))

    async def paced(self, source, rate):
        """Starts a request of `source` each time one is due, until the end; then waits for those under way."""
        stream, request = source
        running, begin, started = set(), time.monotonic(), 0
        while not self.stopping.is_set():
            due = begin + started / rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            started += 1
            task = asyncio.create_task(self.counted(stream, request(started)))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def counted(self, stream, request):
        try:
            await asyncio.wait_for(request, TIMEOUT_SECONDS)
        except TimeoutError:
            stream.failures.append((time.monotonic(), Failure("timeout")))
        except Failure as failure:
            stream.failures.append((time.monotonic(), failure))
        else:
            stream.succeeded += 1
            stream.answered.append(time.monotonic())

    async def get(self, connection, headers=()):
        status, _, body = await connection.request("GET", self.plain, headers)
        if status != 200:
            raise Failure(f"status {status}", body[:200].decode(errors="replace"))

    def on_new_connections(self):
        async def request(_):
            connection = Connection(self.host, self.port, self.tls)
            try:
                await self.get(connection, [("connection", "close")])
            finally:
                connection.close()

        return self.new, request

    def on_kept_connections(self):
        async def request(_):
            connection = self.idle.pop(0) if self.idle else Connection(self.host, self.port, self.tls)
            await self.get(connection)
            self.idle.append(connection)

        # A few connections in turn, as a client's pool has them.
        self.idle = [Connection(self.host, self.port, self.tls) for _ in range(10)]
        return self.kept, request

    def mcp_source(self, path, tool, arguments, stream):
        def source():
            clients = [McpClient(self.host, self.port, path, tool, arguments) for _ in range(20)]
            locks = [asyncio.Lock() for _ in clients]

            async def request(number):
                client, lock = clients[number % len(clients)], locks[number % len(clients)]
                async with lock:
                    before = client.started
                    await client.call()
                    if before and client.started > before:
                        stream.initialised_again += 1

            return stream, request

        return source
