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
        arxiv: number on arXiv, such as "1810.05165".
    """

    authors: str
    title: str
    published: str
    arxiv: str

    @property
    def year(self) -> int:
        """When it came to arXiv, which the first two digits of its number tell since 2007."""
        return 2000 + int(self.arxiv[:2])
