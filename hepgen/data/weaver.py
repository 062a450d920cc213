"""weaver's data configurations: which features, classes and selection a network of weaver wants.

Read are the YAML files that ``weaver -c`` takes (github.com/hqucms/weaver-core) and the
``preprocess.json`` that it exports. Their expressions go through `hepgen.io.expressions`; nothing
of a file is run as code. Branches are known by the names of JetClass, and become the standard
fields that `hepgen.io.read` gives for any schema, so that a network can be used on other files.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hepgen.data.features import Features
from hepgen.data.formulas import recognise
from hepgen.io.errors import InputError, MissingFile, MissingName, SchemaError
from hepgen.io.expressions import names

__all__ = ["JETCLASS_NAMES", "Variable", "WeaverConfig", "read_weaver_config"]

JETCLASS_NAMES: Mapping[str, str] = {
    **{f"part_{name}": name for name in ("px", "py", "pz", "energy", "charge", "pid")},
    "part_deta": "delta_eta",
    "part_dphi": "delta_phi",
    "part_isChargedHadron": "is_charged_hadron",
    "part_isNeutralHadron": "is_neutral_hadron",
    "part_isPhoton": "is_photon",
    "part_isElectron": "is_electron",
    "part_isMuon": "is_muon",
    "part_d0val": "d0",
    "part_d0err": "d0_error",
    "part_dzval": "dz",
    "part_dzerr": "dz_error",
    **{f"jet_{name}": f"jet_{name}" for name in ("pt", "eta", "phi", "energy", "mass")},
}
"""Branch of JetClass -> standard field of hepgen."""

# What the exported variables of the published configurations are made of: preprocess.json has names
# only.
EXPORTED: Mapping[str, str] = {
    "part_pt": "np.hypot(part_px, part_py)",
    "part_pt_log": "np.log(part_pt)",
    "part_e_log": "np.log(part_energy)",
    "part_logptrel": "np.log(part_pt / jet_pt)",
    "part_logerel": "np.log(part_energy / jet_energy)",
    "part_deltaR": "np.hypot(part_deta, part_dphi)",
    "part_d0": "np.tanh(part_d0val)",
    "part_dz": "np.tanh(part_dzval)",
    "part_mask": "np.ones_like(part_energy)",
}
KEYS = (
    "treename",
    "branch_magic",
    "file_magic",
    "selection",
    "test_time_selection",
    "preprocess",
    "new_variables",
    "inputs",
    "labels",
    "observers",
    "monitor_variables",
    "weights",
    "bucketing",
)
POINTS = ("delta_eta", "delta_phi")
VECTORS = ("px", "py", "pz", "energy")


@dataclass(frozen=True)
class Variable:
    """One variable of an input: ``clip((value - centre) * scale, low, high)``.

    Attributes:
        name: in the configuration.
        centre: subtracted; None leaves the value as it is, without a clip.
        scale: multiplied.
        low: least value.
        high: greatest value.
    """

    name: str
    centre: float | None
    scale: float = 1.0
    low: float = -5.0
    high: float = 5.0


@dataclass(frozen=True)
class WeaverConfig:
    """What a data configuration of weaver says.

    Attributes:
        path: the file.
        inputs: group, such as "pf_features" -> its variables.
        lengths: group -> constituents that enter, None for all.
        new_variables: name -> expression over branches and other new variables.
        classes: names of the classes in the order of the logits, without ``label_``.
        labels: class -> expression over branches; empty in ``preprocess.json``.
        selection: which jets, an expression over branches; None for all.
        observers: branches kept with the scores.
        names: branch -> standard field.
    """

    path: Path
    inputs: dict[str, tuple[Variable, ...]]
    lengths: dict[str, int | None]
    new_variables: dict[str, str]
    classes: tuple[str, ...]
    labels: dict[str, str] = field(default_factory=dict)
    selection: str | None = None
    observers: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=lambda: dict(JETCLASS_NAMES))

    def features(self, group: str = "pf_features") -> Features:
        """The features of one group of inputs, standardised as the configuration says.

        Those that hepgen has are recognised by their values, however they are written; others
        become expressions.

        Args:
            group: of the inputs.

        Raises:
            MissingName: there is no such group, or a variable needs a branch that is no standard
                field.
            ExpressionError: an expression that `hepgen.io.evaluate` does not allow.
        """
        if group not in self.inputs:
            raise MissingName.among(group, self.inputs, kind="input", where=str(self.path))
        variables = self.inputs[group]
        found = Features(
            [self._feature(variable.name) for variable in variables],
            max_constituents=self.lengths[group],
        )
        plain = [variable.centre is None for variable in variables]
        columns = {
            "centre": [
                0.0 if variable.centre is None else variable.centre for variable in variables
            ],
            "scale": [1.0 if v.centre is None else v.scale for v in variables],
            "low": np.where(plain, -np.inf, [variable.low for variable in variables]),
            "high": np.where(plain, np.inf, [variable.high for variable in variables]),
        }
        for key, values in columns.items():
            setattr(found, key, np.array(values, np.float64))
        return found

    def expression(self, name: str) -> str:
        """A variable as an expression over standard fields.

        Args:
            name: of a branch or a new variable.

        Raises:
            MissingName: it needs a branch that is no standard field.
            InputError: variables are defined in a circle.
            ExpressionError: an expression that `hepgen.io.evaluate` does not allow.
        """
        tree = _expanded(ast.Name(name, ast.Load()), self.new_variables, (), str(self.path))
        text = ast.unparse(_Renamed(self.names, name, str(self.path)).visit(tree))
        names(text)
        return text

    def reading(self) -> dict[str, Any]:
        """What `hepgen.io.read` needs to read jets as weaver would: ``labels`` and ``where``.

        Raises:
            InputError: variables are defined in a circle.
        """
        where = None if self.selection is None else self._in_branches(self.selection)
        labels = {name: self._in_branches(text) for name, text in self.labels.items()}
        return {"labels": labels or None, "where": where}

    def _in_branches(self, text: str) -> str:
        """An expression over branches alone."""
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise InputError(f"{self.path}: {error.msg}: {text}") from None
        return ast.unparse(_expanded(tree, self.new_variables, (), str(self.path)))

    def check_coordinates(self) -> None:
        """See that points and momenta are those that hepgen's batches have.

        Raises:
            SchemaError: they are others, such as momenta divided by something.
        """
        for group, wanted in (("pf_points", POINTS), ("pf_vectors", VECTORS)):
            if group not in self.inputs:
                continue
            got = tuple(self.expression(variable.name) for variable in self.inputs[group])
            scaled = [v.name for v in self.inputs[group] if v.centre is not None]
            if got != wanted or scaled:
                raise SchemaError(
                    f"{self.path}: {group} is {', '.join(got)}"
                    f"{f' with {scaled} standardised' if scaled else ''}; the batches of hepgen "
                    f"have {', '.join(wanted)} as they are"
                )

    def _feature(self, name: str) -> str:
        text = self.expression(name)
        known = recognise(text)
        if known is not None:
            return known
        # A bare column is an expression, too.
        return f"1 * {text}" if text.isidentifier() else text


def read_weaver_config(path: str | Path, *, names: Mapping[str, str] | None = None) -> WeaverConfig:
    """Read a data configuration of weaver.

    Args:
        path: a YAML file as for ``weaver -c``, or the ``preprocess.json`` of an exported network.
        names: branch -> standard field, besides those of JetClass.

    Raises:
        MissingFile: there is no such file.
        InputError: it cannot be understood, or wants ``preprocess: auto`` of data.
        MissingName: it has a key that weaver does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no data configuration {path}; wanted a YAML of weaver")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path} should hold keys and values, not {content!r:.80}")
    known = {**JETCLASS_NAMES, **(names or {})}
    try:
        read = _from_json if "input_names" in content else _from_yaml
        return read(path, content, known)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no data configuration of weaver: {error!r}") from error


def _from_yaml(path: Path, content: Mapping[str, Any], known: Mapping[str, str]) -> WeaverConfig:
    for key in content:
        if key not in KEYS:
            raise MissingName.among(key, KEYS, kind="key", where=str(path))
    new = {str(k): str(v) for k, v in (content.get("new_variables") or {}).items()}
    automatic = (content.get("preprocess") or {}).get("method", "manual") != "manual"
    groups = {
        name: tuple(_variable(entry, automatic, path) for entry in group["vars"])
        for name, group in content["inputs"].items()
    }
    lengths = {name: group.get("length") for name, group in content["inputs"].items()}
    labels = _labels(content.get("labels") or {})
    selection = content.get("selection")
    return WeaverConfig(
        path,
        groups,
        lengths,
        new,
        tuple(labels),
        labels,
        None if selection is None else str(selection),
        tuple(content.get("observers") or ()),
        known,
    )


def _labels(content: Mapping[str, Any]) -> dict[str, str]:
    """Class -> expression, in the order of the logits."""
    value = content.get("value") or {}
    if content.get("type", "simple") == "simple":
        return {str(name).removeprefix("label_"): str(name) for name in value}
    return {str(name): str(text) for name, text in value.items()}


def _variable(entry: Any, automatic: bool, path: Path) -> Variable:
    if isinstance(entry, str):
        entry = [entry] if automatic else [entry, None]
    name, *numbers = entry
    if not numbers and not automatic:
        numbers = [None]
    if not numbers or numbers[0] == "auto":
        raise InputError(
            f"{path}: {name!r} is to be standardised automatically (preprocess: auto); the numbers "
            "are in the .auto.yaml that weaver wrote beside it, or in preprocess.json: read those"
        )
    if numbers[0] is not None and None in numbers[1:4]:
        raise InputError(f"{path}: {name!r} has {numbers}; wanted numbers after the centre")
    return Variable(str(name), *(None if n is None else float(n) for n in numbers[:4]))  # type: ignore[arg-type]


def _from_json(path: Path, content: Mapping[str, Any], known: Mapping[str, str]) -> WeaverConfig:
    groups, lengths = {}, {}
    for name in content["input_names"]:
        group = content[name]
        lengths[name] = group.get("var_length", group.get("max_length"))
        variables = []
        for variable in group["var_names"]:
            info = group["var_infos"][variable]
            centre, scale = float(info["median"]), float(info["norm_factor"])
            low, high = float(info["lower_bound"]), float(info["upper_bound"])
            # weaver writes a variable without transformation as 0, 1 and bounds of 1e32.
            plain = (centre, scale) == (0.0, 1.0) and min(-low, high) >= 1e31
            variables.append(Variable(variable, None if plain else centre, scale, low, high))
        groups[name] = tuple(variables)
    classes = tuple(str(n).removeprefix("score_").removeprefix("label_") for n in _outputs(content))
    return WeaverConfig(path, groups, lengths, dict(EXPORTED), classes, names=known)


def _outputs(content: Mapping[str, Any]) -> list[str]:
    names = list(content.get("output_names") or [])
    # The network's one output is a vector in weaver's own export; its name tells no classes.
    return [] if names in (["softmax"], ["output"]) else names


def _expanded(
    tree: ast.expr, variables: Mapping[str, str], inside: tuple[str, ...], where: str
) -> ast.expr:
    """A tree with new variables in the place of their names."""

    class Replace(ast.NodeTransformer):
        def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
            # The np of np.log is no variable.
            return node if isinstance(node.value, ast.Name) else self.generic_visit(node)  # type: ignore[return-value]

        def visit_Call(self, node: ast.Call) -> ast.expr:
            node.args = [self.visit(argument) for argument in node.args]
            return node

        def visit_Name(self, node: ast.Name) -> ast.expr:
            if node.id not in variables or variables[node.id].strip() == node.id:
                return node
            if node.id in inside:
                raise InputError(f"{where}: {' -> '.join([*inside, node.id])} is a circle")
            try:
                body = ast.parse(variables[node.id].strip(), mode="eval").body
            except SyntaxError as error:
                raise InputError(f"{where}: {node.id}: {error.msg}: {variables[node.id]}") from None
            return _expanded(body, variables, (*inside, node.id), where)

    return Replace().visit(tree)  # type: ignore[no-any-return]


class _Renamed(ast.NodeTransformer):
    """Branches by the names of standard fields."""

    def __init__(self, known: Mapping[str, str], variable: str, where: str) -> None:
        self.known, self.variable, self.where = known, variable, where

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Leaves ``np.log`` and the like alone."""
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Looks at arguments only; a function is no branch."""
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The standard field for a branch."""
        if node.id not in self.known:
            raise MissingName.among(
                node.id,
                self.known,
                kind="branch with a standard field",
                where=f"{self.where}, {self.variable}; give names={{branch: field}}",
            )
        return ast.Name(self.known[node.id], ast.Load())
