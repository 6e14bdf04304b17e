"""The suite itself is tested: each fault that is planted makes the test fail that is named beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted import FAULTS

ROOT = Path(__file__).parent.parent
OPTIONS = "-p tests.planted -p no:cacheprovider -x -q --tb=line"
FAILED = 1  # what pytest returns when tests have failed, and not when it was misused or found none


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS.split(), FAULTS[name].test],
        cwd=ROOT,
        env={**os.environ, "BITDEX_FAULT": name},
        capture_output=True,
        text=True,
    )
    assert run.returncode == FAILED, (
        f"{FAULTS[name].what}: not found by {FAULTS[name].test}\n{run.stdout[-2000:]}"
    )


def test_the_page_on_reliability_names_all_of_them():
    page = (ROOT / "docs" / "reliability.md").read_text()
    for one in FAULTS.values():
        assert f"| {one.what} | `{one.test}` |" in page, one.what
