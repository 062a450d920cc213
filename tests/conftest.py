"""Options and fixtures of all tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Set before torch, numba and matplotlib are imported. One thread a worker: the sums, and so the
# results, do not depend on the machine, and two workers do not fight over two cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell starts what runs in the background, as CI may, with Ctrl-C ignored; tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Compilation by numba counts as time of the first example. In CI the examples are always the same.
hypothesis.settings.register_profile("hepgen", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("hepgen")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-data",
        metavar="DIR",
        type=Path,
        default=None,
        help="folder of real files of the field; default: ../shared/data, where it exists",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that load ROOT: its interpreter and torch's compiler crash in one process."""
    for item in items:
        if "root" in getattr(item, "fixturenames", ()):
            item.add_marker("root")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin each test with torch's random numbers where all others begin.

    Else weights and inputs that a test draws without a seed of its own are those that the tests
    before it left over: others in each selection of tests, and by chance with several workers.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> Path:
    """Folder of real ROOT files; tests that ask for it are skipped without it."""
    asked: Path | None = request.config.getoption("--real-data")
    folder = asked if asked is not None else REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder.resolve()
    if asked is not None:
        pytest.fail(f"--real-data {asked}: no such folder")
    pytest.skip(f"no folder of real files at {folder}; name one with --real-data=DIR")


@pytest.fixture(scope="session")
def root() -> Any:
    """The module ROOT, without windows; tests that ask for it are skipped without ROOT."""
    module = pytest.importorskip("ROOT", reason="needs ROOT: pip install 'hepgen[root]'")
    module.gROOT.SetBatch(True)
    return module
