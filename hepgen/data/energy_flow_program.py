r"""In which steps the energy flow polynomials of many graphs are computed together.

A vertex with one neighbour is summed over by a matrix times a vector, one with two neighbours by a
product of matrices, after which an edge joins the neighbours; parallel edges multiply. What is left
in the end is a sum over one vertex. With up to 7 edges one core alone resists, the complete graph
of four vertices; it counts as an edge with a matrix of its own. Steps that several graphs need are
done once, and each graph takes the order of elimination that adds the cheapest steps to those of
the graphs before it: 489 connected graphs need 11 products of matrices and 130 of a matrix and a
vector.

With weights z and powers :math:`T^{(k)}_{ij} = \theta_{ij}^k` of the angles the steps are

* ``TIMES`` v w: :math:`v_i w_i`, a vector;
* ``APPLY`` A B v: :math:`\sum_j A_{ij} B_{ij} v_j`, a vector; without B a plain product;
* ``JOIN`` A B: :math:`A_{ij} B_{ij}`, a matrix;
* ``CHAIN`` A B v: :math:`\sum_k A_{ik} v_k B_{kj}`, a matrix;
* ``FLIP`` A: :math:`A_{ji}`, a matrix;
* ``TETRA``: :math:`\sum_{kl} z_k z_l T_{ik} T_{il} T_{jk} T_{jl} T_{kl}`, a matrix, from
  :math:`T = T^{(1)}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hepgen.data.energy_flow_graphs import Graph, prime_graphs

__all__ = ["APPLY", "CHAIN", "FLIP", "JOIN", "TETRA", "TIMES", "Program", "Step", "program"]

TIMES, APPLY, JOIN, CHAIN, FLIP, TETRA = range(6)
NONE = -1
# Of jets with 50 constituents, about, in units of a matrix times a vector.
COST = {TIMES: 0.02, APPLY: 1.0, JOIN: 1.0, CHAIN: 12.0, FLIP: 1.5, TETRA: 400.0}
_INPUT = -2

Step = tuple[int, int, int, int]
"""Kind and three operands, which are numbers of values, or -1."""

# An edge: a power of the angle, and other matrices that multiply it.
_Edge = tuple[int, tuple[int, ...]]
_Edges = dict[tuple[int, int], _Edge]
# For each vertex the vectors that multiply z.
_Weights = dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class Program:
    """Steps to the polynomials of all connected graphs up to some degree D.

    Value 0 is z, values 1 to D are the powers of the angle, and then each step makes one.

    Attributes:
        degree: D.
        steps: each after those that it needs.
        results: for each graph two vectors whose scalar product is its polynomial.
    """

    degree: int
    steps: tuple[Step, ...]
    results: tuple[tuple[int, int], ...]


@lru_cache
def program(max_degree: int) -> Program:
    """The steps to the polynomials of `prime_graphs`.

    Args:
        max_degree: greatest number of edges, 0 to 7.

    Raises:
        ValueError: ``max_degree`` is not 0 to 7.
    """
    graphs = prime_graphs(max_degree)
    values = _Values(max_degree)
    taken: dict[int, None] = dict.fromkeys(range(max_degree + 1))
    results = []
    for graph in graphs:
        search = _Search(values, taken)
        for root in range(1 + max(map(max, graph))):
            search.eliminate(
                root, dict.fromkeys(range(1 + max(map(max, graph))), ()), _edges(graph)
            )
        taken |= search.best_steps
        results.append(search.best_result)
    number = {value: i for i, value in enumerate(taken)} | {NONE: NONE}
    steps = []
    for value in list(taken)[max_degree + 1 :]:
        kind, *operands = values.made[value]
        a, b, c = (number[operand] for operand in operands)
        steps.append((kind, a, b, c))
    return Program(max_degree, tuple(steps), tuple((number[a], number[b]) for a, b in results))


def _edges(graph: Graph) -> _Edges:
    edges: _Edges = {}
    for edge in graph:
        edges[edge] = _parallel(edges.get(edge, (0, ())), (1, ()))
    return edges


def _parallel(one: _Edge, other: _Edge) -> _Edge:
    return one[0] + other[0], tuple(sorted(one[1] + other[1]))


class _Values:
    """All values thought of, each with one number however often it is thought of."""

    def __init__(self, max_degree: int) -> None:
        self.made: list[Step] = [(_INPUT, i, NONE, NONE) for i in range(max_degree + 1)]
        self._numbers = {step: i for i, step in enumerate(self.made)}

    def make(self, kind: int, a: int = NONE, b: int = NONE, c: int = NONE) -> int:
        step = (kind, a, b, c)
        if step not in self._numbers:
            self._numbers[step] = len(self.made)
            self.made.append(step)
        return self._numbers[step]

    def vector(self, factors: Sequence[int]) -> int:
        """The weights z times some vectors."""
        product = 0
        for factor in factors:
            product = self.make(TIMES, product, factor)
        return product

    def factors(self, edge: _Edge) -> list[int]:
        """The matrices whose product, element by element, an edge is."""
        return [edge[0]] * (edge[0] > 0) + list(edge[1])

    def joined(self, matrices: Sequence[int]) -> int:
        product, *rest = sorted(matrices)
        for matrix in rest:
            product = self.make(JOIN, *sorted((product, matrix)))
        return product

    def chain(self, a: int, weight: int, b: int) -> int:
        """A product or, if that comes first, the flipped one of the flipped factors."""
        turned = self.flipped(b), self.flipped(a)
        if (a, b) <= turned:
            return self.make(CHAIN, a, b, weight)
        return self.flipped(self.make(CHAIN, *turned, weight))

    def flipped(self, matrix: int) -> int:
        kind, a, b, _ = self.made[matrix]
        if kind == FLIP:
            return a
        symmetric = kind in (_INPUT, TETRA)
        if kind == CHAIN:
            symmetric = (a, b) == (self.flipped(b), self.flipped(a))
        elif kind == JOIN:
            symmetric = [a, b] == sorted((self.flipped(a), self.flipped(b)))
        return matrix if symmetric else self.make(FLIP, matrix)

    def turned(self, edge: _Edge) -> _Edge:
        return edge[0], tuple(sorted(self.flipped(matrix) for matrix in edge[1]))


class _Search:
    """The cheapest of all orders in which the vertices of a graph can be eliminated."""

    def __init__(self, values: _Values, taken: dict[int, None]) -> None:
        self._values, self._taken = values, taken
        self._seen: dict[object, float] = {}
        self._best = float("inf")
        self.best_steps: dict[int, None] = {}
        self.best_result = (NONE, NONE)

    def eliminate(
        self, root: int, weights: _Weights, edges: _Edges, steps: Sequence[int] = ()
    ) -> None:
        """Tries all orders that leave the root, from what some steps have left of the graph."""
        cost = sum(COST[self._values.made[step][0]] for step in steps)
        state = (root, tuple(sorted(weights.items())), tuple(sorted(edges.items())))
        if cost >= self._best or self._seen.get(state, self._best) <= cost:
            return
        self._seen[state] = cost
        if len(weights) == 1:
            self._end(weights[root], steps)
            return
        neighbours: dict[int, list[int]] = {vertex: [] for vertex in weights}
        for i, j in edges:
            neighbours[i].append(j)
            neighbours[j].append(i)
        others = [vertex for vertex in weights if vertex != root]
        leaves = [vertex for vertex in others if len(neighbours[vertex]) == 1]
        if leaves:
            # In which order these go makes no difference.
            self._leaf(leaves[0], neighbours[leaves[0]][0], root, weights, edges, steps)
            return
        for vertex in others:
            if len(neighbours[vertex]) == 2:
                self._link(vertex, sorted(neighbours[vertex]), root, weights, edges, steps)
        if len(weights) == 4 and len(edges) == 6:
            for pair in edges:
                self._tetra(pair, root, weights, edges, steps)

    def _leaf(
        self,
        leaf: int,
        stem: int,
        root: int,
        weights: _Weights,
        edges: _Edges,
        steps: Sequence[int],
    ) -> None:
        first, *rest = self._values.factors(self._edge(edges, stem, leaf))
        second = self._values.joined(rest) if rest else NONE
        value = self._values.make(APPLY, first, second, self._values.vector(weights[leaf]))
        weights = {i: w for i, w in weights.items() if i != leaf}
        weights[stem] = tuple(sorted((*weights[stem], value)))
        self.eliminate(root, weights, _without(leaf, edges), self._with(value, steps))

    def _link(
        self,
        link: int,
        ends: Sequence[int],
        root: int,
        weights: _Weights,
        edges: _Edges,
        steps: Sequence[int],
    ) -> None:
        values, (first, second) = self._values, ends
        value = values.chain(
            values.joined(values.factors(self._edge(edges, first, link))),
            values.vector(weights[link]),
            values.joined(values.factors(self._edge(edges, link, second))),
        )
        weights = {i: w for i, w in weights.items() if i != link}
        edges = _without(link, edges)
        edges[first, second] = _parallel(edges.get((first, second), (0, ())), (0, (value,)))
        self.eliminate(root, weights, edges, self._with(value, steps))

    def _tetra(
        self,
        pair: tuple[int, int],
        root: int,
        weights: _Weights,
        edges: _Edges,
        steps: Sequence[int],
    ) -> None:
        """Eliminates two vertices of a complete graph if they and their edges are plain."""
        plain = all(edge == (1, ()) for other, edge in edges.items() if other != pair)
        if root in pair and plain and not any(weights[i] for i in weights if i not in pair):
            value = self._values.make(TETRA)
            edge = _parallel(edges[pair], (0, (value,)))
            weights = {i: weights[i] for i in pair}
            self.eliminate(root, weights, {pair: edge}, self._with(value, steps))

    def _end(self, factors: Sequence[int], steps: Sequence[int]) -> None:
        result = self._values.vector(factors[:-1]), factors[-1]
        steps = self._with(result[0], steps)
        cost = sum(COST[self._values.made[step][0]] for step in steps)
        if cost < self._best:
            self._best, self.best_steps, self.best_result = cost, dict.fromkeys(steps), result

    def _edge(self, edges: _Edges, i: int, j: int) -> _Edge:
        return edges[i, j] if i < j else self._values.turned(edges[j, i])

    def _with(self, value: int, steps: Sequence[int]) -> list[int]:
        """The steps, and those that this value needs besides."""
        steps = list(steps)
        if value != NONE and value not in self._taken and value not in steps:
            for operand in self._values.made[value][1:]:
                steps = self._with(operand, steps)
            steps.append(value)
        return steps


def _without(vertex: int, edges: _Edges) -> _Edges:
    return {pair: edge for pair, edge in edges.items() if vertex not in pair}
