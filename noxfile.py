#!/usr/bin/env -S uv run --script

# /// script
# dependencies = ["nox>=2025.10.14"]
# ///
"""The targets of the Makefile, each in an environment of its own and on any Python."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"


@nox.session
def lint(session: nox.Session) -> None:
    """Read the code without running it."""
    session.install("-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("codespell")
    session.run("repo-review", ".")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests that need neither ROOT nor other taggers; arguments go to pytest."""
    session.install("-e", ".[test,parquet]")
    session.run("pytest", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the site in docs/_build/html."""
    session.install("-e", ".[docs,parquet]")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "docs", "docs/_build/html")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the source archive and the wheel in dist/."""
    session.install("build")
    session.run("python", "-m", "build")


if __name__ == "__main__":
    nox.main()
