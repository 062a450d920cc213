"""The jets of a training run: which files, which classes, and how they are divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import awkward as ak

from hepgen.data import Features, JetFiles, split
from hepgen.io import FileSpec, expand, iterate, read
from hepgen.io.errors import InputError

__all__ = ["JetSample", "Parts"]

Paths = str | list[str] | dict[str, str | list[str]]


Jets = Any
"""An awkward array of jets, or `JetFiles`."""


class Parts(NamedTuple):
    """Jets to train on, to choose the best epoch by, and to judge the result by."""

    train: Jets
    validation: Jets | None
    test: Jets | None


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
        stream: leave the jets in their files, for samples larger than memory; they are divided by
            whole files then, ``by: file``.
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
    stream: bool = False

    def parts(
        self,
        features: Features,
        *,
        constituents: Sequence[str] = (),
        seed: int = 0,
        progress: bool = True,
    ) -> Parts:
        """Read the jets and divide them.

        Args:
            features: only the branches that they need are read.
            constituents: further standard fields of the constituents that are needed.
            seed: decides which jet goes where; reading again with the same seed gives the same.
            progress: show a bar while reading.

        Returns:
            Training, validation and test jets, arrays, or `JetFiles` with ``stream``; None for a
            part with share 0 and no files.

        Raises:
            InputError: the files cannot be read, or a part gets no jets.
            ValueError: fractions that do not add up to 1.
        """
        shares = self._shares()
        own = (None, self.validation_files, self.test_files)
        fields = features.fields
        if fields is not None:
            fields = (*fields, *constituents)
        divided: Sequence[Jets | None]
        if self.stream:
            divided = self._divided_files(shares, seed)
        else:
            jets = self._read(self.files, fields, progress, self.entries)
            divided = split(jets, shares, by=self.by, seed=seed)
        parts: list[Jets | None] = []
        for files, part, share in zip(own, divided, shares, strict=True):
            if files is None:
                parts.append(part if share > 0 else None)
            elif self.stream:
                parts.append(JetFiles(files, self._options()))
            else:
                parts.append(self._read(files, fields, progress, None))
        if parts[0] is None:
            raise InputError(f"no jets are left to train on: fractions are {self.fractions}")
        return Parts(*parts)

    def _shares(self) -> list[float]:
        """Shares of ``files``; parts that have files of their own get none of these."""
        own = (None, self.validation_files, self.test_files)
        shares = [
            0.0 if files is not None else share
            for files, share in zip(own, self.fractions, strict=True)
        ]
        shares[0] += sum(self.fractions) - sum(shares)
        return shares

    def _divided_files(self, shares: list[float], seed: int) -> list[JetFiles | None]:
        """The files of each part, those of each class divided alike."""
        if max(shares) < 1 and self.by != "file":
            raise InputError(
                "jets that stay in their files (stream) are divided by whole files: say by: file, "
                "or validation_files and test_files"
            )
        if self.entries is not None:
            raise InputError("entries limits jets in memory; it has no meaning with stream")
        parts: list[list[FileSpec]] = [[], [], []]
        specs = expand(self.files)
        for label in dict.fromkeys(spec.label for spec in specs):
            some = [spec for spec in specs if spec.label == label]
            for part, chosen in zip(parts, split(len(some), shares, seed=seed), strict=True):
                part += [some[i] for i in chosen]
        return [JetFiles(part, self._options()) if part else None for part in parts]

    def classes(self, jets: Jets) -> tuple[str, ...]:
        """Names of the classes, in the order they were asked for.

        Args:
            jets: the training jets.

        Raises:
            InputError: the jets have fewer than two labels.
        """
        if self.labels is not None:
            return tuple(self.labels)
        by_file = dict.fromkeys(s.label for s in expand(self.files) if s.label is not None)
        if by_file:
            return tuple(by_file)
        if isinstance(jets, JetFiles):
            jets = next(iterate(jets.files, step=1000, fields=(), **jets.options))
        names = [name for name in ak.fields(jets) if name.startswith("label_")]
        if len(names) < 2:
            raise InputError(
                f"a tagger tells two classes or more apart; the jets of {self.files} are labelled "
                f"{', '.join(names) or 'nowhere'}; say data.labels, or data.files as class: files"
            )
        return tuple(name.removeprefix("label_") for name in names)

    def _options(self) -> dict[str, Any]:
        names = ("labels", "where", "schema", "tree", "collection")
        return {name: getattr(self, name) for name in names}

    def _read(
        self,
        files: Paths,
        fields: tuple[str, ...] | None,
        progress: bool,
        entries: int | None,
    ) -> ak.Array:
        return read(
            files,
            fields=fields,
            entry_stop=entries,
            progress=progress,
            keep=self.keep,
            **self._options(),
        )
