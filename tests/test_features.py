"""The table of features names tests that are there."""

import fnmatch
import re

from support import paths


def test_every_test_that_the_table_names_exists():
    rows = [line for line in (paths.ROOT / "docs" / "features.md").read_text().splitlines() if line.startswith("| ") and ".py" in line]
    assert len(rows) > 30
    missing = []
    for row in rows:
        file = None
        for name in re.findall(r"`([^`]+)`", row.split("|")[2]):
            if name.endswith(".py"):
                file = paths.TESTS / name
                if not file.exists():
                    missing.append(name)
            elif name.startswith("test_"):
                tests = re.findall(r"def (test_\w+)", file.read_text())
                if not fnmatch.filter(tests, name):
                    missing.append(f"{file.name}: {name}")
    assert missing == []
