"""Command line: `python -m pipelines.samples PIPELINE.yaml [--jets 20000 ...]`."""

from __future__ import annotations

import sys

from jsonargparse import ArgumentParser

from pipelines.samples.make import make


def main(arguments: list[str]) -> None:
    """Make the sample that a pipeline describes.

    Args:
        arguments: words of the command line; the first may be the pipeline.

    Raises:
        SystemExit: with 2 for a wrong option, with 1 where the sample could not be made; the reason
            is on standard error.
    """
    parser = ArgumentParser(
        prog="python -m pipelines.samples",
        usage="python -m pipelines.samples PIPELINE.yaml [--jets N] [--output FILE] [options]",
        description="Jets from Pythia8, a fast detector and anti-kT, written to ROOT.",
    )
    parser.add_argument("--config", action="config", help="the pipeline; the first word may be it")
    parser.add_function_arguments(make)
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--config", *arguments]
    config = parser.instantiate(parser.parse_args(arguments))
    del config["config"]
    try:
        make(**config)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
