"""Command line: `python -m pipelines.samples PIPELINE.yaml [--jets 20000 ...]`."""

from __future__ import annotations

import sys

from jsonargparse import ArgumentParser

from pipelines.samples.make import make


def main(arguments: list[str]) -> None:
    """Make the sample that a pipeline describes.

    Args:
        arguments: words of the command line; the first may be the pipeline.
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
    make(**config)


if __name__ == "__main__":
    main(sys.argv[1:])
