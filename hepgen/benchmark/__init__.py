"""Several taggers on one sample: trained, judged and timed side by side.

``hepgen benchmark PIPELINE.yaml`` is `benchmark`; its table comes as CSV, Markdown and plot.
"""

from hepgen.benchmark.costs import Costs, costs
from hepgen.benchmark.run import benchmark, benchmark_from_words
from hepgen.benchmark.table import Row, Table

__all__ = ["Costs", "Row", "Table", "benchmark", "benchmark_from_words", "costs"]
