"""The multigraphs of energy flow polynomials: enumerated, compared, multiplied.

P. T. Komiske, E. M. Metodiev and J. Thaler, "Energy flow polynomials: a complete linear basis for
jet substructure", JHEP 04 (2018) 013, arXiv:1712.07124. Written from the paper.

A graph is a tuple of edges (i, j), i < j, with repetitions; its vertices are 0, 1, ... without
gaps. A connected one is called prime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations

__all__ = ["Graph", "efp_factors", "efp_graphs", "is_isomorphic", "prime_graphs"]

Graph = tuple[tuple[int, int], ...]

MOST_EDGES = 7


def efp_graphs(max_degree: int = 7) -> tuple[Graph, ...]:
    """All loopless multigraphs without isolated vertices and with up to some number of edges.

    Up to isomorphism there are 1, 1, 3, 8, 23, 66, 212 and 686 with 0 to 7 edges, 1000 together.

    Args:
        max_degree: greatest number of edges d, 0 to 7.

    Returns:
        Tuples of edges (i, j), i < j; parallel edges are repeated. They ascend in d; of equal d the
        connected ones come first, which ascend in the number of vertices. The graphs up to a
        smaller d are the first of these. The very first is empty; its polynomial is 1.

    Raises:
        ValueError: ``max_degree`` is not 0 to 7.
    """
    primes = prime_graphs(max_degree)
    return tuple(_union([primes[k] for k in factors]) for factors in efp_factors(max_degree))


@lru_cache
def efp_factors(max_degree: int = 7) -> tuple[tuple[int, ...], ...]:
    """The connected components of the graphs of `efp_graphs`, in their order.

    Args:
        max_degree: greatest number of edges d, 0 to 7.

    Returns:
        For each graph the indices of its components in `prime_graphs`, ascending.

    Raises:
        ValueError: ``max_degree`` is not 0 to 7.
    """
    degrees = [len(graph) for graph in prime_graphs(max_degree)]

    def multisets(total: int, first: int) -> Iterator[tuple[int, ...]]:
        if total == 0:
            yield ()
        for k in range(first, len(degrees)):
            if degrees[k] > total:
                break
            yield from ((k, *rest) for rest in multisets(total - degrees[k], k))

    return tuple(
        factors
        for degree in range(max_degree + 1)
        for factors in sorted(multisets(degree, 0), key=len)
    )


@lru_cache
def prime_graphs(max_degree: int = 7) -> tuple[Graph, ...]:
    """All connected loopless multigraphs with 1 up to some number of edges.

    Up to isomorphism there are 1, 2, 5, 12, 33, 103 and 333 with 1 to 7 edges (OEIS A076864).

    Args:
        max_degree: greatest number of edges d, 0 to 7.

    Returns:
        Tuples of edges as in `efp_graphs`, ascending in d and then in the number of vertices.

    Raises:
        ValueError: ``max_degree`` is not 0 to 7.
    """
    if max_degree not in range(MOST_EDGES + 1):
        raise ValueError(f"max_degree should be 0 to {MOST_EDGES}, not {max_degree!r}")
    if max_degree == 0:
        return ()
    if max_degree == 1:
        return (((0, 1),),)
    smaller = prime_graphs(max_degree - 1)
    found: dict[tuple[int, ...], list[Graph]] = {}
    # Without one edge that is no bridge, or without one leaf, a connected graph stays connected.
    for graph in smaller:
        if len(graph) == max_degree - 1:
            size = _size(graph)
            for edge in combinations(range(size + 1), 2):
                if edge[0] < size:
                    _add(found, tuple(sorted((*graph, edge))))
    new = [graph for alike in found.values() for graph in alike]
    return (*smaller, *sorted(new, key=lambda graph: (_size(graph), graph)))


def is_isomorphic(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> bool:
    """Whether two multigraphs are the same but for the names of their vertices.

    Args:
        one: edges (i, j), in any order and orientation; vertices are 0, 1, ... without gaps.
        other: likewise.
    """
    if len(one) != len(other) or _size(one) != _size(other):
        return False
    mine, its = _colours(one), _colours(other)
    return sorted(mine) == sorted(its) and _match(_matrix(one), _matrix(other), mine, its, [])


def _add(found: dict[tuple[int, ...], list[Graph]], graph: Graph) -> None:
    alike = found.setdefault(tuple(sorted(_colours(graph))), [])
    if not any(is_isomorphic(graph, known) for known in alike):
        alike.append(graph)


def _size(graph: Sequence[tuple[int, int]]) -> int:
    return 1 + max((max(edge) for edge in graph), default=-1)


def _matrix(graph: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Number of edges between each two vertices."""
    matrix = [[0] * _size(graph) for _ in range(_size(graph))]
    for i, j in graph:
        matrix[i][j] += 1
        matrix[j][i] += 1
    return matrix


def _colours(graph: Sequence[tuple[int, int]]) -> list[int]:
    """A number for each vertex that tells what is around it, whatever its name."""
    matrix = _matrix(graph)
    colours = [sum(row) for row in matrix]
    for _ in matrix:
        colours = [
            hash(tuple(sorted((m, colours[j]) for j, m in enumerate(row) if m))) for row in matrix
        ]
    return colours


def _match(
    one: list[list[int]],
    other: list[list[int]],
    mine: list[int],
    its: list[int],
    images: list[int],
) -> bool:
    """Whether the images of the first vertices of one in the other can be completed."""
    i = len(images)
    if i == len(one):
        return True
    for j in range(len(other)):
        if j in images or mine[i] != its[j]:
            continue
        if any(one[i][k] != other[j][image] for k, image in enumerate(images)):
            continue
        if _match(one, other, mine, its, [*images, j]):
            return True
    return False


def _union(graphs: Sequence[Graph]) -> Graph:
    """The graphs side by side."""
    edges: list[tuple[int, int]] = []
    for graph in graphs:
        shift = _size(edges)
        edges += [(i + shift, j + shift) for i, j in graph]
    return tuple(edges)
