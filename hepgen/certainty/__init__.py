"""How sure a tagger may be: calibrated probabilities, and spreads from ensembles, dropout, Laplace.

Each wraps trained models, predicts as they do, and is saved in one file that `hepgen.load` reads.
"""

from hepgen.certainty.bayesian_last_layer import BayesianLastLayer
from hepgen.certainty.certain import Certain, Prediction
from hepgen.certainty.ensemble import Ensemble
from hepgen.certainty.isotonic import Isotonic, isotonic_regression
from hepgen.certainty.monte_carlo_dropout import MonteCarloDropout
from hepgen.certainty.temperature import Temperature

__all__ = [
    "BayesianLastLayer",
    "Certain",
    "Ensemble",
    "Isotonic",
    "MonteCarloDropout",
    "Prediction",
    "Temperature",
    "isotonic_regression",
]
