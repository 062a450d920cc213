"""Results have the same bits whether numba has just compiled a kernel or has it from its cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def digests(cache: Path) -> list[str]:
    process = subprocess.run(
        [sys.executable, "tests/kernel_bits.py"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.splitlines()


# What they allow changes no bits of numbers: there are no NaN, and 0 and -0 compare equal.
HARMLESS = {"nnan", "nsz"}


def test_fast_arithmetic_is_inlined_or_changes_no_bits() -> None:
    decorator = re.compile(r"^@(?:\w+\.)?njit\((.*fastmath.*)\)$", re.MULTILINE)
    wrong = []
    for path in sorted((REPOSITORY / "hepgen").rglob("*.py")):
        for options in decorator.findall(path.read_text()):
            flags = set(re.findall(r'"(\w+)"', options.partition("fastmath=")[2]))
            if "forceinline=True" not in options and not (flags and flags <= HARMLESS):
                wrong.append(f"{path.relative_to(REPOSITORY)}: {options}")
    assert wrong == []


@pytest.mark.slow
def test_a_process_that_compiles_and_one_that_loads_kernels_give_the_same_bits(
    tmp_path: Path,
) -> None:
    compiling = digests(tmp_path / "cache")
    assert any((tmp_path / "cache").rglob("*.nbc"))
    loading = digests(tmp_path / "cache")
    assert len(compiling) == 339
    assert [a for a, b in zip(compiling, loading, strict=True) if a != b] == []
