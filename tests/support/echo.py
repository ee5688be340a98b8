"""HTTP backends that answer with what they got, or as the query asks them to.

All run on one event loop in a thread of the test process. The query of a request says how it is answered: `status`,
`delay` (seconds), `size` (bytes of body), `chunks` and `interval` (a chunked body; 0 chunks never end), `header` (repeatable,
`name:value`), `close` (after the response), `reset` (instead of a response), `garbage` (no HTTP), `trailer`. With `first` (a
number) and `id` only the first so many requests of this id are answered as asked, the others plainly.
"""

import asyncio
import contextlib
import hashlib
import json
import threading
from urllib.parse import parse_qs, urlsplit

import h11


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine, timeout: float = 15.0):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


class Backend:
    """`seen` are the requests so far; `accepted` counts connections. With `context` it speaks TLS; requests then tell the
    name that was asked for and the certificate that was shown."""

    def __init__(self, loop: Loop, name: str, port: int, host: str = "127.0.0.1", context=None):
        self._loop, self.name, self.port, self.host, self._context = loop, name, port, host, context
        self.server_names: list[str | None] = []
        if context:
            context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        self.seen: list[dict] = []
        self.accepted = 0
        # Whether the query is looked at.
        self.obeys = True
        self._asked: dict[str, int] = {}
        self.chunks_sent = 0
        self._server = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self):
        async def listen():
            self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=1 << 20, ssl=self._context)

        self._loop.run(listen())

    def stop(self):
        """Stops listening and resets what is open."""

        async def end():
            if self._server:
                self._server.close()
                self._server = None
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.run(end())

    def close_idle(self):
        """Closes all open connections in order, as a server does when its idle time is over."""

        async def end():
            for writer in list(self._writers):
                writer.close()

        self._loop.run(end())

    def open_connections(self) -> int:
        return len(self._writers)

    async def _serve(self, reader, writer):
        self.accepted += 1
        self._writers.add(writer)
        try:
            await self._connection(reader, writer, self.accepted)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()

    async def _connection(self, reader, writer, number):
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while True:
            event = await self._next(http, reader)
            if not isinstance(event, h11.Request):
                return
            head = event
            if http.they_are_waiting_for_100_continue:
                writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])))
            digest, length, trailers = hashlib.sha256(), 0, []
            while True:
                event = await self._next(http, reader)
                if isinstance(event, h11.Data):
                    digest.update(event.data)
                    length += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    trailers = [[n.decode(), v.decode()] for n, v in event.headers]
                    break
                else:
                    return
            url = urlsplit(head.target.decode())
            request = {
                "backend": self.name,
                "connection": number,
                "method": head.method.decode(),
                "target": head.target.decode(),
                "path": url.path,
                "version": head.http_version.decode(),
                "headers": [[n.decode().lower(), v.decode("latin-1")] for n, v in head.headers],
                "length": length,
                "sha256": digest.hexdigest(),
                "trailers": trailers,
            }
            if self._context:
                request["client_certificate"] = writer.get_extra_info("peercert")
            self.seen.append(request)
            if not await self._answer(http, writer, request, parse_qs(url.query)):
                return
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _next(self, http, reader):
        while True:
            event = http.next_event()
            if event is not h11.NEED_DATA:
                return event
            http.receive_data(await reader.read(1 << 16))

    async def _answer(self, http, writer, request, query) -> bool:
        def one(name, kind, fallback):
            return kind(query[name][0]) if name in query else fallback

        if not self.obeys:
            query = {}
        if "first" in query:
            asked = self._asked[query["id"][0]] = self._asked.get(query["id"][0], 0) + 1
            if asked > int(query["first"][0]):
                query = {}
        if delay := one("delay", float, 0.0):
            await asyncio.sleep(delay)
        if "reset" in query:
            writer.transport.abort()
            return False
        if "garbage" in query:
            writer.write(b"this is not HTTP\r\n\r\n")
            await writer.drain()
            return False
        status = one("status", int, 200)
        headers = [tuple(h.split(":", 1)) for h in query.get("header", [])]
        if "close" in query:
            headers.append(("connection", "close"))
        size = one("size", int, None)
        if "chunks" in query:
            headers += [("transfer-encoding", "chunked"), ("content-type", "text/plain")]
            if "trailer" in query:
                headers.append(("trailer", "x-checksum"))
            writer.write(http.send(h11.Response(status_code=status, headers=headers)))
            wanted, number = int(query["chunks"][0]), 0
            while wanted == 0 or number < wanted:
                writer.write(http.send(h11.Data(data=b"chunk %d\n" % number)))
                await writer.drain()
                number += 1
                self.chunks_sent = number
                if writer.is_closing():
                    return False
                await asyncio.sleep(one("interval", float, 0.0))
            end = h11.EndOfMessage(headers=[("x-checksum", "42")] if "trailer" in query else [])
        elif size is not None:
            headers += [("content-length", str(size)), ("content-type", "application/octet-stream")]
            writer.write(http.send(h11.Response(status_code=status, headers=headers)))
            piece, left = bytes(1 << 16), 0 if request["method"] == "HEAD" else size
            while left > 0:
                writer.write(http.send(h11.Data(data=piece[: min(left, len(piece))])))
                await writer.drain()
                left -= len(piece)
            end = h11.EndOfMessage()
        else:
            body = b"" if status in (204, 304) else json.dumps(request).encode()
            headers.append(("content-type", "application/json"))
            if status not in (204, 304):
                headers.append(("content-length", str(len(body))))
            writer.write(http.send(h11.Response(status_code=status, headers=headers)))
            if body:
                writer.write(http.send(h11.Data(data=body)))
            end = h11.EndOfMessage()
        writer.write(http.send(end))
        await writer.drain()
        return True


def headers_of(request: dict) -> dict[str, str]:
    """Headers as the backend got them; those that came twice are joined by comma."""
    joined: dict[str, str] = {}
    for name, value in request["headers"]:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
