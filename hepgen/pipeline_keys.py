"""Whether the keys of a pipeline exist: told before anything is built, with the nearest ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from hepgen import taggers
from hepgen.io.errors import InputError, MissingFile, MissingName, WrongType
from hepgen.taggers import Tagger

__all__ = ["check_pipeline", "find_tagger", "open_parser", "read_yaml"]


def open_parser(verb: str, example: str, description: str, *, seed: str) -> ArgumentParser:
    """A parser with what all pipelines have: the YAML, the folder of the run, and the seed.

    Args:
        verb: of hepgen.
        example: an option that overrides a key.
        description: what the verb does with a pipeline.
        seed: what the seed decides.
    """
    parser = ArgumentParser(
        prog=f"hepgen {verb}",
        usage=f"hepgen {verb} PIPELINE.yaml [{example} ...]",
        description=f"{description} Options override keys of the YAML.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="the pipeline, a YAML file")
    parser.add_argument("--output", type=str | None, help="folder of the run; runs/<pipeline>")
    parser.add_argument("--seed", type=int, default=0, help=seed)
    return parser


def find_tagger(name: str) -> type[Tagger]:
    """The tagger of a name.

    Args:
        name: of a class in `hepgen.taggers`, with or without that before it. An import path to
            anywhere else is refused, as it would run the module that it names.

    Raises:
        MissingName: there is none.
    """
    known = [n for n in taggers.__all__ if _is_architecture(getattr(taggers, n))]
    short = name.removeprefix("hepgen.taggers.")
    if short not in known:
        raise MissingName.among(short, known, kind="tagger", where="hepgen.taggers")
    return getattr(taggers, short)  # type: ignore[no-any-return]


def check_pipeline(
    parser: ArgumentParser,
    content: Mapping[str, Any],
    words: Sequence[str],
    *,
    where: str = "the options",
    verb: str = "train",
    find: Callable[[str], type] | None = None,
    without: Collection[str] = ("features", "classes"),
    groups: Collection[str] = ("data", "features", "fit", "start"),
) -> None:
    """See that a pipeline and the options after it name things that exist.

    Args:
        parser: of pipelines.
        content: keys and values of the pipeline.
        words: options.
        where: the content is from, for messages.
        verb: of hepgen, that the options are given to.
        find: the class of a name, `find_tagger` if not given.
        without: arguments of the class that are no keys.
        groups: keys that hold keys, besides ``model``.

    Raises:
        MissingName: a key, option or model that does not exist.
        WrongType: no keys where there should be some.
    """
    model = content.get("model")
    named = model.get("class_path") if isinstance(model, Mapping) else model
    given = dict(_options(words))
    named = given.get("model") or given.get("model.class_path") or named
    model_class = None if named is None else (find or find_tagger)(str(named))
    known = _known(parser, model_class, without, groups)
    for key in _flat(content, known):
        if key not in known:
            raise MissingName.among(key, known, kind="key", where=where)
    for key in given:
        if key not in known and key not in ("help", "config", "print_config"):
            options = [f"--{name}" for name in known]
            raise MissingName.among(f"--{key}", options, kind="option", where=f"hepgen {verb}")
    if named is None and not set(given) & {"help", "print_config"}:
        raise MissingName.among("model", known, kind="key", where=where)


def _is_architecture(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, Tagger) and not inspect.isabstract(found)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Keys and values of a YAML file.

    Args:
        path: the file.

    Raises:
        MissingFile: there is no such file.
        InputError: it is not YAML.
        WrongType: it holds no keys.
    """
    if not path.is_file():
        raise MissingFile(f"no pipeline {path}; wanted a YAML file")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML file: {error}") from error
    if not isinstance(content, Mapping):
        raise WrongType(f"{path} should hold keys and values, not {content!r:.80}")
    return content


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options of the command line, and what follows them."""
    for i, word in enumerate(words):
        following = words[i + 1] if i + 1 < len(words) else ""
        if word.startswith("--"):
            option, equals, value = word[2:].partition("=")
            yield option.removesuffix("+"), value if equals else following
        elif word == "-h":
            yield "help", ""


def _known(
    parser: ArgumentParser,
    model: type | None,
    without: Collection[str],
    groups: Collection[str],
) -> list[str]:
    """All keys, with dots, those of the model's architecture among them."""
    options = [word[2:] for action in parser._actions for word in action.option_strings]
    keys = [key for key in options if "." in key or key in ("output", "seed", "head")]
    keys = [key for key in keys if not key.endswith((".help", "+"))]
    keys += [*groups, "model", "model.class_path", "model.init_args"]
    if model is not None:
        names = [n for n in inspect.signature(model).parameters if n not in without]
        keys += [f"model.init_args.{n}" for n in names] + [f"model.{n}" for n in names]
    return list(dict.fromkeys(keys))


def _flat(content: Mapping[str, Any], known: Collection[str], before: str = "") -> Iterator[str]:
    """Keys with dots; what a key holds is looked into only where it is a group of keys."""
    for name, value in content.items():
        key = f"{before}{name}"
        yield key
        if any(other.startswith(f"{key}.") for other in known):
            if isinstance(value, Mapping):
                yield from _flat(value, known, f"{key}.")
            elif value is not None and key != "model":
                raise WrongType(f"{key} should hold keys and values, not {value!r:.80}")
