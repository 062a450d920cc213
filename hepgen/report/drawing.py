"""Figures on their way into a page, as SVG in the page's colours, and into files beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from hepgen import plots

__all__ = ["Drawing", "plain_text", "plot_files", "svg"]

# Stands in the SVG for the colour of the page's text; no other artist has it.
_INK = "#010203"


@dataclass(frozen=True)
class Drawing:
    """A figure of a page.

    Attributes:
        name: of its files.
        title: above it, and what a screen reader says.
        caption: below it.
        draw: makes the figure.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


def plain_text(text: str) -> str:
    """Text for matplotlib in which a dollar is a dollar and starts no formula."""
    return text.replace("$", r"\$")


def svg(drawing: Drawing) -> str:
    """The figure as an SVG element that can stand among others in one page.

    Its ink is the colour of the text around it, so it can be read in a dark page too.
    """
    colours = dict.fromkeys(
        ("text__color", "axes__edgecolor", "axes__labelcolor", "xtick__color", "ytick__color"), _INK
    )
    with plots.style(**colours, savefig__transparent=True, font__size=12):
        file = io.StringIO()
        drawing.draw().savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # An id is once in a page, but each figure counts its own from the start.
    text = re.sub(r'\bid="', f'id="{drawing.name}-', text)
    text = re.sub(r'href="#', f'href="#{drawing.name}-', text)
    text = text.replace("url(#", f"url(#{drawing.name}-")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    return re.sub(r'\swidth="[\d.]+pt" height="[\d.]+pt"', "", text, count=1).rstrip()


def plot_files(drawings: Sequence[Drawing]) -> dict[str, bytes]:
    """Each figure as PDF, for papers, and PNG, for slides, in a folder ``plots``."""
    files = {}
    for drawing in drawings:
        with plots.style():
            figure = drawing.draw()
            for kind, metadata in (("png", {}), ("pdf", {"CreationDate": None})):
                content = io.BytesIO()
                figure.savefig(content, format=kind, metadata=metadata)
                files[f"plots/{drawing.name}.{kind}"] = content.getvalue()
    return files
