"""Figures on their way into a page, as SVG in the page's colours, and into files beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from hepgen import plots

__all__ = ["Drawing", "Picture", "plain_text", "render"]

# As good as black in files; in the page it is replaced by the colour of the text.
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


@dataclass(frozen=True)
class Picture:
    """A figure that was drawn.

    Attributes:
        title: above it.
        caption: below it.
        svg: an SVG element that can stand among others in one page; its ink is the colour of the
            text around it, so that it can be read in a dark page too.
        files: as PNG, for slides, and PDF, for papers, by name.
    """

    title: str
    caption: str
    svg: str
    files: dict[str, bytes]


def plain_text(text: str) -> str:
    """Text for matplotlib in which a dollar is a dollar and starts no formula."""
    return text.replace("$", r"\$")


def render(drawings: Sequence[Drawing]) -> list[Picture]:
    """Draw figures, each once for all formats."""
    colours = dict.fromkeys(
        ("text__color", "axes__edgecolor", "axes__labelcolor", "xtick__color", "ytick__color"), _INK
    )
    pictures = []
    for drawing in drawings:
        with plots.style(**colours):
            figure = drawing.draw()
            # Placing the axes takes longer than drawing them, and is the same in each format.
            engine = figure.get_layout_engine()
            if engine is not None:
                engine.execute(figure)
                figure.set_layout_engine("none")
            files = {
                f"plots/{drawing.name}.png": _saved(figure, "png", {}),
                f"plots/{drawing.name}.pdf": _saved(figure, "pdf", {"CreationDate": None}),
            }
            text = _saved(figure, "svg", {"Date": None}, transparent=True).decode()
        pictures.append(Picture(drawing.title, drawing.caption, _inline(text, drawing.name), files))
    return pictures


def _saved(figure: Figure, kind: str, metadata: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata=metadata, **options)
    return file.getvalue()


def _inline(text: str, name: str) -> str:
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # An id is once in a page, but each figure counts its own from the start.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    return re.sub(r'\swidth="[\d.]+pt" height="[\d.]+pt"', "", text, count=1).rstrip()
