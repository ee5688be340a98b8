"""Fixtures of the tests of LLM backends."""

import pytest

from support.llm_provider import Provider


@pytest.fixture
def provider():
    """Makes stand-ins for providers."""
    made = []

    def make(answer) -> Provider:
        made.append(Provider(answer if callable(answer) else lambda _: answer))
        return made[-1]

    yield make
    for each in made:
        each.close()
