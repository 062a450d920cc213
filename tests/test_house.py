"""The rules of the house, read from the source: who imports whom, sizes, names, documentation."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest
import uproot

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "hepgen"

# The parts of hepgen that each part may import. What is not listed (cli and the modules that do
# the work of a verb) joins all parts and is imported by none of the listed ones.
MAY_IMPORT = {
    "arguments": set(),
    "atomic": set(),
    "paper": set(),
    "kinematics": set(),
    "io": {"atomic", "kinematics"},
    "data": {"atomic", "io", "kinematics"},
    "heads": {"data", "io"},
    "taggers": {"arguments", "atomic", "checkpoint", "data", "heads", "kinematics", "paper"},
    "certainty": {"atomic", "checkpoint", "data", "heads", "io", "metrics", "taggers"},
    "flows": {"arguments", "atomic", "checkpoint", "kinematics", "paper", "training"},
    "calorimeter": {"atomic", "io", "kinematics"},
    "simulators": {
        "arguments",
        "atomic",
        "calorimeter",
        "checkpoint",
        "flows",
        "io",
        "kinematics",
        "metrics",
        "paper",
        "training",
    },
    "integration": {"atomic", "checkpoint", "flows", "io", "kinematics", "metrics", "training"},
    "metrics": {"kinematics"},
    "plots": {"metrics"},
    "training": {"atomic", "checkpoint"},
    "checkpoint": {"atomic"},
}

# Packages that a part may not import at all, not even inside a function.
TORCH = {"lightning", "pytorch_lightning", "torch", "torch_geometric"}
NEVER = {
    "kinematics": TORCH | {"awkward"},
    "io": TORCH,
    "calorimeter": TORCH,
    "metrics": TORCH,
    "plots": TORCH,
    "taggers": {"awkward", "uproot"},
    "training": {"awkward", "uproot"},
    "checkpoint": {"awkward", "uproot"},
}

LONGEST_FILE = 400
LONGEST_FUNCTION = 80  # lines without the docstring
NAMELESS = {"base", "common", "core", "helper", "helpers", "misc", "tools", "util", "utils"}


@dataclass(frozen=True)
class Import:
    """One imported name: dotted, resolved; at_load tells whether loading the module imports it."""

    name: str
    line: int
    at_load: bool


@functools.cache
def modules() -> dict[str, Path]:
    """All modules of hepgen by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def names_of(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    """The modules that an import statement names; of ``from package import name`` the nearest."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    source = node.module or ""
    if node.level:
        package = module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        source = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        full = f"{source}.{alias.name}"
        yield full if full in modules() else source


@functools.cache
def imports(module: str) -> tuple[Import, ...]:
    """What a module imports, wherever in it, but for what only the type checker sees."""
    found = []

    def visit(node: ast.AST, at_load: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.orelse:
                visit(child, at_load)
            return
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.extend(Import(name, node.lineno, at_load) for name in names_of(node, module))
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_load and not inside)

    visit(tree(module), True)
    return tuple(found)


def part(module: str) -> str:
    """The first name below hepgen; '' for hepgen itself."""
    return module.split(".")[1] if "." in module else ""


def place(module: str, line: int) -> str:
    return f"{modules()[module].relative_to(REPOSITORY)}:{line}"


def all_of(module: str) -> list[str]:
    """The names in a module's ``__all__``."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def test_parts_import_only_what_the_house_allows() -> None:
    wrong = []
    for module in modules():
        own = part(module)
        for found in imports(module):
            if not found.name.startswith("hepgen."):
                continue
            other = part(found.name)
            allowed = MAY_IMPORT.get(own, MAY_IMPORT.keys() | {other}) | {own}
            if other not in allowed or (other == "cli" and own != "__main__"):
                wrong.append(f"{place(module, found.line)}: {own} may not import {found.name}")
    assert not wrong, "\n".join(wrong)


def test_parts_keep_clear_of_packages_that_are_not_theirs() -> None:
    wrong = [
        f"{place(module, found.line)}: {part(module)} may not import {found.name}"
        for module in modules()
        for found in imports(module)
        if found.name.split(".")[0] in NEVER.get(part(module), set())
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        module: {found.name for found in imports(module) if found.at_load} & modules().keys()
        for module in modules()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail("import circle: " + " -> ".join(error.args[1]))


def test_every_imported_package_is_a_declared_dependency() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = [requirement for group in groups for requirement in group]
    declared = {re.split(r"[\s\[<>=!;]", one)[0].lower().replace("_", "-") for one in requirements}
    distributions = importlib.metadata.packages_distributions()
    wrong = []
    for module in modules():
        for found in imports(module):
            package = found.name.split(".")[0]
            if package in sys.stdlib_module_names or package == "hepgen":
                continue
            providers = {
                provider.lower().replace("_", "-")
                for provider in distributions.get(package, [package])
            }
            if not providers & declared:
                wrong.append(f"{place(module, found.line)}: {package} of {sorted(providers)}")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_a_drawer_for_everything() -> None:
    wrong = [module for module in modules() if NAMELESS & set(module.split("."))]
    assert not wrong


def test_files_and_functions_fit_a_screen_or_two() -> None:
    wrong = []
    for module, path in modules().items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            wrong.append(f"{place(module, 1)}: {lines} lines")
        for node in ast.walk(tree(module)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            start = node.lineno
            if ast.get_docstring(node) is not None:
                start += (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if (node.end_lineno or 0) - start + 1 > LONGEST_FUNCTION:
                wrong.append(f"{place(module, node.lineno)}: {node.name} is too long")
    assert not wrong, "\n".join(wrong)


def test_every_public_name_is_documented() -> None:
    wrong = []
    for module in modules():
        public = set(all_of(module))
        for node in tree(module).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name not in public:
                continue
            overload = any(ast.unparse(one) == "overload" for one in node.decorator_list)
            if not overload and not ast.get_docstring(node):
                wrong.append(f"{place(module, node.lineno)}: {node.name}")
        if ast.get_docstring(tree(module)) is None:
            wrong.append(f"{place(module, 1)}: the module")
    assert not wrong, "\n".join(wrong)


def test_every_public_name_exists() -> None:
    wrong = []
    for module in modules():
        nodes = list(ast.walk(tree(module)))
        bound = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        bound |= {node.id for node in nodes if isinstance(node, ast.Name)}
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound |= {alias.asname or alias.name for alias in node.names}
        wrong += [f"{module}.{name}" for name in all_of(module) if name not in bound]
    assert not wrong


def test_every_public_name_stands_in_a_test() -> None:
    texts = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    words = set(re.findall(r"\w+", "\n".join(texts)))
    wrong = [f"{module}.{name}" for module in modules() for name in all_of(module)]
    wrong = [name for name in wrong if name.rpartition(".")[2] not in words]
    assert not wrong


def loaded(script: str) -> set[str]:
    """The packages outside Python's own that a fresh interpreter has loaded after a script."""
    script = f"import sys\nbefore = set(sys.modules)\n{script}\nprint(*set(sys.modules) - before)"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert run.returncode == 0, run.stderr
    packages = {name.split(".")[0] for name in run.stdout.splitlines()[-1].split()}
    return packages - sys.stdlib_module_names - {"hepgen"}


def test_importing_hepgen_loads_nothing_else() -> None:
    assert loaded("import hepgen") == set()


def test_inspecting_a_file_loads_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "jets.root"
    with uproot.recreate(path) as file:
        file.mktree("tree", {"jet_pt": "f4"})
        file["tree"].extend({"jet_pt": np.array([500.0, 600.0], np.float32)})
    packages = loaded(f"from hepgen.cli import main\nassert main(['inspect', {str(path)!r}]) == 0")
    assert "uproot" in packages
    assert not packages & (TORCH | {"matplotlib", "mplhep"})
