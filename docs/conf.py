"""Settings of Sphinx."""

from __future__ import annotations

import os
import re

from sphinx.application import Sphinx

import hepgen

project = "hepgen"
author = "The hepgen developers"
copyright = "The hepgen developers"
version = release = hepgen.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "jupyter_execute"]

html_theme = "furo"
html_title = f"hepgen {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The pages that compute run at build time, in the folder of the repository, and must not fail.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True

# Inventories of other projects are fetched where the site is published and nowhere else, so that
# the build neither waits for the network nor fails without it.
if "READTHEDOCS" in os.environ:
    intersphinx_mapping = {
        "awkward": ("https://awkward-array.org/doc/main/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "python": ("https://docs.python.org/3/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
        "uproot": ("https://uproot.readthedocs.io/en/latest/", None),
        "vector": ("https://vector.readthedocs.io/en/latest/", None),
    }


def keep_bars(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Let |p| in a docstring stay an absolute value, where reStructuredText sees a substitution."""
    for number, line in enumerate(lines):
        pieces = line.split("`")  # every second one stands between backticks
        pieces[::2] = [re.sub(r"\|(\w+)\|", r"\\|\1\\|", piece) for piece in pieces[::2]]
        lines[number] = "`".join(pieces)


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", keep_bars)
