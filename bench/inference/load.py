"""Open loop load: requests start when their time has come, whatever became of those before."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Times in seconds from the moment at which the request was due."""

    started: float
    status: int = 0
    first: float = 0.0
    whole: float = 0.0
    tokens: int = 0
    cached: int = 0
    prompt: int = 0
    label: str = ""
    headers: dict = field(default_factory=dict)


def words(seed: str, tokens: int) -> str:
    """Text of so many tokens of four bytes."""
    rng = random.Random(seed)
    return "".join(f"{rng.randrange(1000):03d} " for _ in range(tokens))


async def one(port: int, body: bytes, outcome: Outcome, due: float, headers: str = ""):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        got = await reader.readuntil(b"\r\n\r\n")
        outcome.status = int(got.split(b" ", 2)[1])
        last = b""
        while piece := await reader.read(65536):
            if not outcome.first:
                outcome.first = time.perf_counter() - due
            outcome.tokens += piece.count(b'"finish_reason"')
            last = (last + piece)[-800:]
        outcome.whole = time.perf_counter() - due
        if (at := last.find(b'"usage":')) >= 0:
            usage = json.JSONDecoder().raw_decode(last[at + 8 :].decode())[0]
            outcome.prompt, outcome.cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
        writer.close()
    except (OSError, asyncio.IncompleteReadError, ValueError):
        outcome.whole = time.perf_counter() - due


async def run(port: int, rate: float, seconds: float, make, seed: int) -> list[Outcome]:
    """Poisson arrivals; `make` gives body, label and headers of request number n."""
    rng = random.Random(seed)
    outcomes, tasks, begin, at, n = [], [], time.perf_counter(), 0.0, 0
    while (at := at + rng.expovariate(rate)) < seconds:
        body, label, headers = make(n, rng)
        due = begin + at
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        outcomes.append(Outcome(at, label=label))
        tasks.append(asyncio.create_task(one(port, body, outcomes[-1], due, headers)))
        n += 1
    await asyncio.wait(tasks, timeout=60)
    return outcomes


async def saturate(port: int, clients: int, seconds: float, make, seed: int) -> float:
    """Requests a second that so many clients without pauses are served."""
    rng, done, end = random.Random(seed), 0, time.perf_counter() + seconds

    async def client(n: int):
        nonlocal done
        while time.perf_counter() < end:
            n += clients
            body, label, headers = make(n, rng)
            outcome = Outcome(0.0, label=label)
            await one(port, body, outcome, time.perf_counter(), headers)
            if outcome.status == 200 and time.perf_counter() < end:
                done += 1

    await asyncio.gather(*(client(n) for n in range(clients)))
    return done / seconds


def share(values, part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")
