"""Bounded waiting for what other processes do."""

import time


def until(condition, timeout: float = 10.0, what: str = "", interval: float = 0.01):
    """Calls `condition` until it gives something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(interval)
