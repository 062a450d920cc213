"""Where a model is from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Paper"]


@dataclass(frozen=True)
class Paper:
    """Where an architecture is from.

    Attributes:
        authors: as they are cited.
        title: of the paper.
        published: journal, volume, year, page.
        arxiv: number on arXiv, such as "1810.05165" or, before 2007, "hep-ex/0001020".
    """

    authors: str
    title: str
    published: str
    arxiv: str

    @property
    def year(self) -> int:
        """When it came to arXiv, which the first two digits of its number tell."""
        digits = int(self.arxiv.rpartition("/")[2][:2])
        return digits + (1900 if digits > 90 else 2000)
