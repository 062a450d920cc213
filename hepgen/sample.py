"""The jets of a training run: which files, which classes, and how they are divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import awkward as ak

from hepgen.data import Features, split
from hepgen.io import expand, read
from hepgen.io.errors import InputError

__all__ = ["JetSample", "Parts"]

Paths = str | list[str] | dict[str, str | list[str]]


class Parts(NamedTuple):
    """Jets to train on, to choose the best epoch by, and to judge the result by."""

    train: ak.Array
    validation: ak.Array | None
    test: ak.Array | None


@dataclass
class JetSample:
    """The jets of a training run and how they are divided.

    Args:
        files: path, glob, ``file.root:tree`` or URL, a list of them, or {class: files}.
        labels: names of the classes, or {class: expression over jet fields and branches}. Not
            needed where ``files`` tells the classes; else all classes that the file labels.
        where: selection of jets, an expression such as ``(pt > 500) & (abs(eta) < 2)``.
        schema: which branches are which standard field: a name, or a YAML file with a mapping;
            recognised from the branches if not given.
        tree: name of the tree, where a file holds several.
        collection: which jets of an event, such as ``FatJet``.
        validation_files: files of the validation jets, in place of a share of ``files``.
        test_files: files of the test jets, in place of a share of ``files``.
        fractions: shares of training, validation and test jets in ``files``; those of parts that
            have files of their own go to training.
        by: divide entry by entry, or whole files.
        entries: read so many entries of ``files`` at most.
        keep: branches to write beside the scores of the test jets, such as event numbers.
    """

    files: Paths
    labels: list[str] | dict[str, str] | None = None
    where: str | None = None
    schema: str | None = None
    tree: str | None = None
    collection: str | None = None
    validation_files: Paths | None = None
    test_files: Paths | None = None
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    by: Literal["entry", "file"] = "entry"
    entries: int | None = None
    keep: list[str] = field(default_factory=list)

    def parts(self, features: Features, *, seed: int = 0, progress: bool = True) -> Parts:
        """Read the jets and divide them.

        Args:
            features: only the branches that they need are read.
            seed: decides which jet goes where; reading again with the same seed gives the same.
            progress: show a bar while reading.

        Returns:
            Training, validation and test jets; None for a part with share 0 and no files.

        Raises:
            InputError: the files cannot be read, or a part gets no jets.
            ValueError: fractions that do not add up to 1.
        """
        jets = self._read(self.files, features, progress, self.entries)
        own = [None, self.validation_files, self.test_files]
        shares = [
            0.0 if files is not None else share
            for share, files in zip(self.fractions, own, strict=True)
        ]
        shares[0] += sum(self.fractions) - sum(shares)
        divided = split(jets, shares, by=self.by, seed=seed)
        parts = [
            self._read(files, features, progress, None)
            if files is not None
            else (part if share > 0 else None)
            for files, part, share in zip(own, divided, shares, strict=True)
        ]
        if parts[0] is None:
            raise InputError(f"no jets are left to train on: fractions are {self.fractions}")
        return Parts(*parts)

    def classes(self, jets: ak.Array) -> tuple[str, ...]:
        """Names of the classes, in the order they were asked for.

        Args:
            jets: what was read.

        Raises:
            InputError: the jets have fewer than two labels.
        """
        if self.labels is not None:
            return tuple(self.labels)
        by_file = dict.fromkeys(s.label for s in expand(self.files) if s.label is not None)
        names = tuple(by_file) or tuple(
            name.removeprefix("label_") for name in ak.fields(jets) if name.startswith("label_")
        )
        if len(names) < 2:
            raise InputError(
                f"a tagger tells two classes or more apart; the jets of {self.files} are labelled "
                f"{', '.join(names) or 'nowhere'}; say data.labels, or data.files as class: files"
            )
        return names

    def _read(
        self, files: Paths, features: Features, progress: bool, entries: int | None
    ) -> ak.Array:
        options: Mapping[str, Any] = {
            "labels": self.labels,
            "where": self.where,
            "schema": self.schema,
            "tree": self.tree,
            "collection": self.collection,
            "keep": self.keep,
        }
        return read(files, fields=features.fields, entry_stop=entries, progress=progress, **options)
