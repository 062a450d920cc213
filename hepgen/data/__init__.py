"""Jets to batches: features, packed batches, graphs, labels, splits. The last to know awkward."""

from hepgen.data.batches import Batch, make_batch
from hepgen.data.constituents import Constituents
from hepgen.data.energy_flow import energy_flow_polynomials
from hepgen.data.energy_flow_graphs import efp_graphs
from hepgen.data.epochs import Batches
from hepgen.data.features import Features
from hepgen.data.finite import NonFinite
from hepgen.data.graphs import all_pairs, knn, knn_edges
from hepgen.data.jet_files import JetFiles
from hepgen.data.labels import class_index
from hepgen.data.n_subjettiness import n_subjettiness, n_subjettiness_basis
from hepgen.data.packed import PackedJets
from hepgen.data.splits import split
from hepgen.data.streaming import StreamedBatches

__all__ = [
    "Batch",
    "Batches",
    "Constituents",
    "Features",
    "JetFiles",
    "NonFinite",
    "PackedJets",
    "StreamedBatches",
    "all_pairs",
    "class_index",
    "efp_graphs",
    "energy_flow_polynomials",
    "knn",
    "knn_edges",
    "make_batch",
    "n_subjettiness",
    "n_subjettiness_basis",
    "split",
]
