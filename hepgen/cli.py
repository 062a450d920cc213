"""The command line: one verb for each thing a user does, calling the functions a user would call.

Every verb is a parser made from the signature and docstring of the function behind it, so that
``--help`` and the Python documentation never disagree. Nothing heavy is imported before the verb is
known: ``hepgen inspect`` runs without torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from hepgen import __version__

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the words after ``hepgen``; those of the process if not given.

    Returns:
        The exit code: 0 if all went well, 1 for bad input, 2 for wrong usage, 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"hepgen {__version__}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in _VERBS:
        from hepgen.io.errors import nearest_names

        nearest = ", ".join(nearest_names(verb, _VERBS))
        print(f"hepgen: no verb {verb!r}; nearest: {nearest}", file=sys.stderr)
        return 2
    traceback = "--traceback" in rest or bool(os.environ.get("HEPGEN_TRACEBACK"))
    return _run(_VERBS[verb][1], [word for word in rest if word != "--traceback"], traceback)


def _run(function: Callable[[list[str]], None], words: list[str], traceback: bool) -> int:
    """Call a verb and turn what is wrong with the input into one message and an exit code."""
    try:
        function(words)
    except KeyboardInterrupt:
        print("hepgen: interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:  # argparse has already said what is wrong
        return stop.code if isinstance(stop.code, int) else 2
    except (ValueError, LookupError, OSError, ImportError, ArithmeticError) as error:
        if traceback:
            raise
        print(f"hepgen: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _overview() -> str:
    width = max(map(len, _VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {what}" for verb, (what, _) in _VERBS.items())
    return (
        f"hepgen {__version__}: jet tagging, fast simulation and importance\n"
        "sampling, from ROOT to ROOT\n\n"
        f"usage: hepgen VERB ...   (hepgen VERB --help tells its arguments)\n\n{verbs}\n\n"
        "An error is one line; --traceback shows where it was raised."
    )


def _parser(verb: str) -> ArgumentParser:
    about = _VERBS[verb][0]
    return ArgumentParser(prog=f"hepgen {verb}", description=about, allow_abbrev=False)


def _arguments(parser: ArgumentParser, words: list[str]) -> dict[str, Any]:
    return dict(vars(parser.parse_args(list(_spelt_out(parser, words)))))


def _spelt_out(parser: ArgumentParser, words: list[str]) -> Iterator[str]:
    """Options as the parser knows them: ``--batch-size`` with underscores, ``--overwrite true``."""
    known = {option: action for action in parser._actions for option in action.option_strings}
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in known and option.startswith("--"):
            option = "--" + option[2:].replace("-", "_")
            # Keys of a mapping stand behind a dot.
            if option.partition(".")[0] not in known:
                from hepgen.io.errors import nearest_names

                near = ", ".join(nearest_names(option, known)).replace("_", "-")
                parser.error(f"no option {word}; nearest: {near}")
        yield option + equals + value
        switch = "bool" in str(getattr(known.get(option), "_typehint", ""))
        following = words[i + 1].lower() if i + 1 < len(words) else ""
        if switch and not equals and following not in ("true", "false", "null"):
            yield "true"


def _inspect(words: list[str]) -> None:
    from dataclasses import replace

    from rich.console import Console

    from hepgen.io import inspect
    from hepgen.shower_inspection import inspect_showers

    parser = _parser("inspect")
    parser.add_argument("path", metavar="FILE", help="ROOT, HDF5, Parquet or npz file, or its URL")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    told = "of showers: name or file of the calorimeter, where the file does not tell it"
    parser.add_argument("--geometry", type=str | None, help=told)
    parser.add_function_arguments(inspect, skip={"path"})
    arguments = _arguments(parser, words)
    as_json, geometry = arguments.pop("json"), arguments.pop("geometry")
    found = inspect(**arguments)
    showers = inspect_showers(found, tree=arguments["tree"], geometry=geometry)
    if showers is not None:
        # Schemas are of jets.
        found = replace(found, trees=tuple(replace(one, problem=None) for one in found.trees))
    if as_json:
        import json

        told_of = {} if showers is None else {"showers": showers.to_dict()}
        print(json.dumps(found.to_dict() | told_of, indent=2))
        return
    Console().print(found)
    if showers is not None:
        print(showers)


def _train(words: list[str]) -> None:
    from hepgen.shower_pipeline import names_simulator, read_shower_pipeline, train_simulator

    if names_simulator(words):
        train_simulator(read_shower_pipeline(words))
        return
    from hepgen.pipeline import train_from_words

    train_from_words(words)


def _predict(words: list[str]) -> None:
    from hepgen.prediction import predict_files

    parser = _parser("predict")
    parser.add_argument("model", metavar="MODEL", help="model.safetensors of a training run")
    parser.add_argument("files", metavar="FILES", nargs="+", help="paths, globs, URLs")
    parser.add_argument("-o", "--output", required=True, help="folder, or a .root file")
    parser.add_function_arguments(predict_files, skip={"model", "files", "output"})
    for path in predict_files(**_arguments(parser, words)):
        print(path)


def _generate(words: list[str]) -> None:
    from hepgen.generation import generate

    parser = _parser("generate")
    parser.add_argument("model", metavar="MODEL", type=str, help="model.safetensors of a simulator")
    parser.add_argument("-n", type=int | None, help="how many showers; as many as --like has")
    energy = "GeV, such as 50, or a range 1:100; the trained range if not given"
    parser.add_argument("--incident_energy", type=str | None, help=energy)
    parser.add_argument("-o", "--output", required=True, type=str, help="file, .hdf5 or .root")
    like = "file of showers whose energies and other conditions are taken over"
    parser.add_argument("--like", type=str | None, help=like)
    given = "other conditions, such as {theta: 0.1}"
    parser.add_argument("--conditions", type=dict[str, float] | None, help=given)
    weighed = "file of a Correction, whose weights are written too"
    parser.add_argument("--correction", type=str | None, help=weighed)
    of_writers = {
        "kind": (str, "ttree or rntuple, of a file .root"),
        "unit": (str, "of energies in a file .root, GeV if not given"),
        "tree": (str, "name of the tree in a file .root, showers if not given"),
        "dtype": (str, "float32 or float64"),
        "level": (int, "of the compression of a file .hdf5, 0 to 9"),
    }
    for name, (kind, told) in of_writers.items():
        parser.add_argument(f"--{name}", type=kind | None, help=told)
    own: set[str | int] = {
        "model",
        "n",
        "incident_energy",
        "output",
        "like",
        "conditions",
        "correction",
    }
    parser.add_function_arguments(generate, skip=own)
    arguments = _arguments(parser, words)
    # What is not given is the writer's own to decide, and one has no word for the other's.
    unsaid = [name for name in of_writers if arguments[name] is None]
    print(generate(**{name: v for name, v in arguments.items() if name not in unsaid}))


def _evaluate_showers(words: list[str]) -> None:
    from hepgen.shower_evaluation import evaluate_showers

    parser = _parser("evaluate")
    parser.add_argument("generated", nargs="+", help="files of generated showers")
    told = "files of showers of the full simulation"
    parser.add_argument("--reference", nargs="+", type=str, required=True, help=told)
    parser.add_argument("-o", "--output", help="folder for report.html, results.json and plots")
    own: set[str | int] = {"generated", "reference", "output", "other", "train", "model"}
    parser.add_argument("--other", nargs="+", type=str, help="more of those, for the floors")
    parser.add_argument("--train", nargs="+", type=str, help="what the simulator was trained on")
    parser.add_argument("--model", type=str | None, help="file of the simulator, for its times")
    parser.add_function_arguments(evaluate_showers, skip=own)
    print(evaluate_showers(**_arguments(parser, words)))


def _evaluate(words: list[str]) -> None:
    if any(word.split("=")[0] == "--reference" for word in words):
        _evaluate_showers(words)
        return
    from hepgen.evaluation import evaluate

    parser = _parser("evaluate")
    parser.add_argument("scores", nargs="+", help="ROOT files with scores: friends or full copies")
    parser.add_argument("-o", "--output", help="folder for report.html, results.json and plots")
    parser.add_function_arguments(evaluate, skip={"scores", "output"})
    print(evaluate(**_arguments(parser, words)))


def _compare(words: list[str]) -> None:
    from hepgen.evaluation import compare
    from hepgen.io.errors import InputError
    from hepgen.shower_comparison import compare_showers, holds_showers

    parser = _parser("compare")
    told = "folders that hepgen evaluate wrote, all of scores or all of showers"
    parser.add_argument("runs", nargs="+", help=told)
    parser.add_argument("-o", "--output", help="folder for the comparison")
    parser.add_function_arguments(compare, skip={"runs", "output"})
    arguments = _arguments(parser, words)
    of_showers = [run for run in arguments["runs"] if holds_showers(run)]
    if not of_showers:
        print(compare(**arguments))
        return
    if others := [run for run in arguments["runs"] if run not in of_showers and Path(run).exists()]:
        raise InputError(
            f"{of_showers[0]} is an evaluation of showers, {others[0]} is not: "
            "only runs of one kind can be compared"
        )
    print(compare_showers(**arguments))


def _convert(words: list[str]) -> None:
    from hepgen.io.errors import WrongType
    from hepgen.loading import load
    from hepgen.taggers import Tagger

    parser = _parser("convert")
    parser.add_argument("path", metavar="WEIGHTS", type=str, help="what torch.save wrote, *.pt")
    parser.add_argument("-o", "--output", required=True, help="the file to write, *.safetensors")
    parser.add_argument("--like", type=str, required=True, help="weaver or lorentznet")
    parser.add_argument("--config", type=str, help="YAML or preprocess.json of weaver")
    parser.add_argument("--classes", type=list[str] | None, help="names, if config tells none")
    parser.add_argument(
        "--names", type=dict[str, str] | None, help='branch -> field, {"pfcand_pt": "pt"}'
    )
    parser.add_argument("--arguments", type=dict[str, Any] | None, help='such as {"k": 7}')
    arguments = _arguments(parser, words)
    output, more = arguments.pop("output"), arguments.pop("arguments") or {}
    tagger = load(**arguments, **more)
    if not isinstance(tagger, Tagger):
        raise WrongType(f"{arguments['path']} holds {type(tagger).__name__}, which is no tagger")
    tagger.save(output)
    print(output)


def _integrate(words: list[str]) -> None:
    from hepgen.cross_section import cross_section_from_words

    cross_section_from_words(words)


def _benchmark(words: list[str]) -> None:
    from hepgen.benchmark import benchmark_from_words

    print(benchmark_from_words(words))


def _calibrate(words: list[str]) -> None:
    from hepgen.calibrate import calibrate_files

    parser = _parser("calibrate")
    parser.add_argument("model", metavar="MODEL", type=str, help="model.safetensors of a run")
    parser.add_argument("files", metavar="FILES", nargs="+", help="labelled jets not trained on")
    parser.add_argument("-o", "--output", required=True, help="the file to write, *.safetensors")
    parser.add_function_arguments(calibrate_files, skip={"model", "files", "output"})
    print(calibrate_files(**_arguments(parser, words)))


def _ensemble(words: list[str]) -> None:
    from hepgen.calibrate import join_models

    parser = _parser("ensemble")
    parser.add_argument("models", metavar="MODELS", nargs="+", help="model.safetensors of runs")
    parser.add_argument("-o", "--output", required=True, help="the file to write, *.safetensors")
    parser.add_function_arguments(join_models, skip={"models", "output"})
    print(join_models(**_arguments(parser, words)))


def _export(words: list[str]) -> None:
    from hepgen import checkpoint
    from hepgen.exported import export
    from hepgen.simulators import Simulator
    from hepgen.simulators.par04_export import export_par04, macro
    from hepgen.taggers import Tagger

    parser = _parser("export")
    parser.add_argument("model", metavar="MODEL", type=str, help="model.safetensors of a run")
    wanted = "the file to write: *.pt2 of a tagger, *.onnx of a simulator"
    parser.add_argument("-o", "--output", required=True, help=wanted)
    told = "of a simulator: conditions that Geant4 does not tell, such as {pdg: 11}"
    parser.add_argument("--conditions", type=dict[str, float] | None, help=told)
    arguments = _arguments(parser, words)
    model = checkpoint.load(arguments["model"])
    if isinstance(model, Simulator):
        written = export_par04(model, arguments["output"], conditions=arguments["conditions"])
        print(macro(written, arguments["output"]))
    elif isinstance(model, Tagger):
        if arguments["conditions"] is not None:
            raise checkpoint.CheckpointError("--conditions are of simulators; this is a tagger")
        export(model, arguments["output"])
    else:
        raise checkpoint.CheckpointError(
            f"{arguments['model']} holds {type(model).__name__}; only taggers and simulators can "
            "be exported"
        )
    print(arguments["output"])


def _correct(words: list[str]) -> None:
    from hepgen.shower_correction import correct_showers

    parser = _parser("correct")
    parser.add_argument("generated", nargs="+", help="files of generated showers")
    told = "files of showers of the full simulation"
    parser.add_argument("--reference", nargs="+", type=str, required=True, help=told)
    model = "model file of the weights, *.safetensors"
    parser.add_argument("-o", "--output", required=True, type=str, help=model)
    weighted = "file for the showers with their weights, .hdf5 or .root"
    parser.add_argument("--weighted", type=str | None, help=weighted)
    own: set[str | int] = {"generated", "reference", "output", "weighted"}
    parser.add_function_arguments(correct_showers, skip=own)
    found = correct_showers(**_arguments(parser, words))
    print("no test of the weights" if found is None else found)


def _find_rate(words: list[str]) -> None:
    from hepgen.rate import find_rate_from_words

    print(find_rate_from_words(words))


def _quickstart(words: list[str]) -> None:
    from hepgen.quickstart import quickstart

    parser = _parser("quickstart")
    parser.add_argument("-o", "--output", default="quickstart", type=Path, help="folder to make")
    parser.add_function_arguments(quickstart, skip={"output"})
    quickstart(**_arguments(parser, words))


_VERBS: dict[str, tuple[str, Callable[[list[str]], None]]] = {
    "quickstart": ("run the main job on the bundled sample: train, predict, evaluate", _quickstart),
    "inspect": ("tell what is in a file: trees, branches, schema, jets, NaN", _inspect),
    "train": (
        "train a tagger or a simulator from a pipeline YAML; --print_config shows every key",
        _train,
    ),
    "find-rate": ("train briefly with a growing learning rate and tell a good one", _find_rate),
    "predict": ("score files and write friend trees in entry order", _predict),
    "generate": ("make showers with a simulator, into HDF5 or ROOT", _generate),
    "evaluate": ("plots and numbers of scores, or of showers with --reference", _evaluate),
    "compare": ("set several evaluations side by side, with errors", _compare),
    "integrate": (
        "integrate a cross section: histograms and unweighted events as ROOT and LHE",
        _integrate,
    ),
    "benchmark": ("train several taggers on one sample and tabulate them", _benchmark),
    "convert": ("take over weights of weaver or of the LorentzNet release", _convert),
    "calibrate": ("make probabilities mean what they say, with or without spreads", _calibrate),
    "ensemble": ("join trained models into one that tells the spread of its scores", _ensemble),
    "correct": ("weights that bring generated showers to those of Geant4", _correct),
    "export": ("write a tagger for torch.export, or a simulator for Geant4", _export),
}

if __name__ == "__main__":
    sys.exit(main())
