"""What all plots share: colours, sizes, the label above, names and units of axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import mplhep
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

__all__ = ["AXIS_LABELS", "COLOURS", "colours", "figure", "label", "style"]

# Six that stay apart with any colour vision and in grey: M. A. Petroff, arXiv:2107.02270.
COLOURS = ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd")

# For more than six, of the same source: each also apart from its neighbours in the list.
MANY_COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)

AXIS_LABELS = {
    "pt": r"Jet $p_\mathrm{T}$ [GeV]",
    "eta": r"Jet $\eta$",
    "mass": "Jet mass [GeV]",
}

# The fonts come with mplhep, which makes them known to matplotlib when it is imported.
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["TeX Gyre Heros", "Helvetica", "Arial", "DejaVu Sans"],
    "mathtext.fontset": "custom",
    "mathtext.rm": "TeX Gyre Heros",
    "mathtext.it": "TeX Gyre Heros:italic",
    "mathtext.bf": "TeX Gyre Heros:bold",
    "mathtext.cal": "TeX Gyre Heros:italic",
    "font.size": 13,
    "axes.labelsize": 14,
    "axes.linewidth": 1.0,
    "axes.prop_cycle": cycler(color=COLOURS),
    # No power of ten above the axis, where the name stands.
    "axes.formatter.limits": (-5, 6),
    "axes.axisbelow": True,
    "xaxis.labellocation": "right",
    "yaxis.labellocation": "top",
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "xtick.major.size": 6,
    "ytick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.minor.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.8,
    "savefig.dpi": 160,
    "svg.fonttype": "path",
    # The same data give the same file.
    "svg.hashsalt": "hepgen",
}


@contextmanager
def style(**settings: Any) -> Iterator[None]:
    """The look of hepgen's plots, for the length of a ``with`` block.

    Args:
        **settings: further matplotlib settings, with ``__`` for the dot: ``font__size=16``.

    Yields:
        Nothing; leaving the block restores matplotlib's settings.

    Raises:
        KeyError: matplotlib knows no such setting.
    """
    changes: dict[Any, Any] = {name.replace("__", "."): value for name, value in settings.items()}
    with mpl.rc_context(_SETTINGS | changes):
        yield


def figure(
    panels: Literal["one", "ratio"] = "one", *, width: float = 6.4, height: float = 5.0
) -> tuple[Figure, list[Axes]]:
    """A figure with its axes, outside of pyplot, so that nothing has to be closed.

    Args:
        panels: "one", or "ratio" for a low second panel that shares the horizontal axis.
        width: in inches.
        height: in inches.

    Returns:
        The figure and its axes, the main panel first.
    """
    made = Figure(figsize=(width, height), layout="constrained")
    if panels == "one":
        return made, [made.subplots()]
    main, ratio = made.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1], "hspace": 0.04}
    )
    return made, [main, ratio]


def colours(number: int) -> list[str]:
    """Colours for so many curves; beyond ten they begin again."""
    chosen = COLOURS if number <= len(COLOURS) else MANY_COLOURS
    return [chosen[i % len(chosen)] for i in range(number)]


def label(ax: Axes, text: str = "", *, right: str = "") -> list[Any]:
    """Write "hepgen" and a text above the axes, as experiments do.

    Args:
        ax: where.
        text: after the name, in italics.
        right: at the right end: energy, sample, selection.

    Returns:
        The texts.
    """
    # The text is set beside the name, whose width is known once the axes have their place.
    whole = ax.get_figure(root=True)
    engine = None if whole is None else whole.get_layout_engine()
    if whole is not None and engine is not None:
        engine.execute(whole)
    found = mplhep.label.exp_label(
        exp="hepgen",
        llabel=text,
        rlabel=right or None,
        com=None,
        # mplhep 1.3.3 would make a figure of pyplot's to find the room for an exponent above.
        scilocator_adjust=False,
        loc=0,
        fontsize=(15, 12, 12, 12),
        ax=ax,
    )
    return [artist for artist in found if artist is not None]
