"""What the columns of a file are and cost: type, bytes on disk and in memory, codec."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from hepgen.io.columns import describe
from hepgen.io.hdf5 import Hdf5Source
from hepgen.io.npz import NpzSource
from hepgen.io.root import RootSource
from hepgen.io.schema import Source

__all__ = ["StoredColumn", "codec_of", "stored_columns"]

_ROOT_CODECS = {1: "ZLIB", 2: "LZMA", 4: "LZ4", 5: "ZSTD"}
_ZIP_CODECS = {zipfile.ZIP_STORED: "none", zipfile.ZIP_DEFLATED: "deflate"}


@dataclass(frozen=True)
class StoredColumn:
    """One column as it is stored.

    Args:
        name: as the file calls it.
        type: type of an entry, in the words of the format.
        is_float: whether it holds floating-point numbers.
        compressed: bytes in the file; None where the format does not tell it for a column.
        uncompressed: bytes when unpacked; None likewise.
        codec: "ZSTD(5)", "none", ...
    """

    name: str
    type: str
    is_float: bool
    compressed: int | None
    uncompressed: int | None
    codec: str


def stored_columns(source: Source) -> list[StoredColumn]:
    """The columns of an open file, in its order; no values are read but the first row's, for types.

    Raises:
        NotReadable: the file is damaged.
    """
    if isinstance(source, RootSource):
        return rntuple_fields(source.tree) if source.is_rntuple else ttree_branches(source.tree)
    if isinstance(source, Hdf5Source):
        return _hdf5(source)
    if isinstance(source, NpzSource):
        return _npz(source)
    return _parquet(source)


def codec_of(columns: Sequence[StoredColumn]) -> str:
    """The codecs of the columns, those of the most bytes first, without those of less than 5 %."""
    stored = Counter[str]()
    for column in columns:
        stored[column.codec] += column.compressed or 0
    total = sum(stored.values())
    return (
        ", ".join(codec for codec, size in stored.most_common() if size >= 0.05 * total) or "none"
    )


def ttree_branches(tree: Any) -> list[StoredColumn]:
    """The branches of a TTree that hold values, by the last part of their path."""
    columns: dict[str, StoredColumn] = {}
    for path, branch in tree.iteritems(recursive=True):
        if len(branch.branches) > 0:
            continue
        name, kind = path.rsplit("/", 1)[-1], branch.typename
        codec = branch.compression
        if codec is None and branch.compressed_bytes < branch.uncompressed_bytes:
            # Some writers leave the setting of the branch at 0, which would be none at all.
            codec = tree.file.compression
        stored = StoredColumn(
            name,
            kind,
            any(word in kind.lower() for word in ("float", "double")),
            int(branch.compressed_bytes),
            int(branch.uncompressed_bytes),
            f"{codec.name}({codec.level})" if codec else "none",
        )
        columns.setdefault(name, stored)
    return list(columns.values())


def rntuple_fields(tree: Any) -> list[StoredColumn]:
    """The fields at the top of an RNTuple, each with the bytes of all that is in it.

    Bytes that several fields share, such as the lengths of lists, count for the first of them.
    """
    records = tree.field_records
    top = list(range(len(records)))
    for index, record in enumerate(records):
        # A field comes after the one that it is in.
        if record.parent_field_id != index:
            top[index] = top[record.parent_field_id]
    # NanoAOD keeps Jet_pt in a hidden field, which only Jet_pt itself shows, as an alias.
    owner = {index: top[column.field_id] for index, column in enumerate(tree.column_records)}
    owner |= {
        alias.physical_id: top[alias.field_id] for alias in reversed(tree.alias_column_records)
    }
    compressed, unpacked = Counter[int](), Counter[int]()
    codecs: dict[int, int] = {}
    for cluster in tree.page_link_list:
        for index, (column, pages) in enumerate(zip(tree.column_records, cluster, strict=False)):
            field = owner[index]
            compressed[field] += sum(page.locator.num_bytes for page in pages.pages)
            bits = sum(page.num_elements for page in pages.pages) * column.nbits
            unpacked[field] += (bits + 7) // 8
            codecs.setdefault(field, pages.compression_settings or 0)
    floats = {top[i] for i, record in enumerate(records) if record.type_name in ("float", "double")}
    return [
        StoredColumn(
            record.field_name,
            record.type_name or "record",
            index in floats,
            compressed[index],
            unpacked[index],
            _root_codec(codecs.get(index, 0)),
        )
        for index, record in enumerate(records)
        if top[index] == index and not record.field_name.startswith("_collection")
    ]


def _root_codec(settings: int) -> str:
    algorithm, level = divmod(settings, 100)
    return f"{_ROOT_CODECS.get(algorithm, algorithm)}({level})" if level else "none"


def _hdf5(source: Hdf5Source) -> list[StoredColumn]:
    first = source.read(source.names, 0, min(1, source.num_entries))
    columns = []
    for name, values in first.items():
        # Columns of compound datasets and of pandas tables share their bytes.
        dataset = source.file.get(name)
        known = isinstance(dataset, h5py.Dataset)
        columns.append(
            StoredColumn(
                name,
                describe(values).removesuffix(" an entry"),
                np.asarray(values).dtype.kind == "f",
                dataset.id.get_storage_size() if known else None,
                int(dataset.nbytes) if known else None,
                (dataset.compression or "none") if known else "none",
            )
        )
    return columns


def _npz(source: NpzSource) -> list[StoredColumn]:
    first = source.read(source.names, 0, min(1, source.num_entries))
    with zipfile.ZipFile(source.spec.path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    return [
        StoredColumn(
            name,
            describe(values).removesuffix(" an entry"),
            np.asarray(values).dtype.kind == "f",
            members[name].compress_size,
            members[name].file_size,
            _ZIP_CODECS.get(members[name].compress_type, str(members[name].compress_type)),
        )
        for name, values in first.items()
    ]


def _parquet(source: Any) -> list[StoredColumn]:
    metadata = source.file.metadata
    compressed, unpacked = Counter[str](), Counter[str]()
    codecs: dict[str, str] = {}
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            name = column.path_in_schema.split(".")[0]
            compressed[name] += column.total_compressed_size
            unpacked[name] += column.total_uncompressed_size
            codecs.setdefault(name, column.compression)
    return [
        StoredColumn(
            field.name,
            str(field.type),
            any(word in str(field.type) for word in ("float", "double")),
            compressed[field.name],
            unpacked[field.name],
            codecs.get(field.name, "none"),
        )
        for field in source.file.schema_arrow
    ]
