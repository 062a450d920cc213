"""Heads: what a tagger learns and gives, on top of any architecture.

A tagger's second argument is names of classes, which is `Classification` of them, or one of these.
``__all__`` is the list of heads: their names are those of pipelines and model files.
"""

from hepgen.heads.adversarial import Adversarial
from hepgen.heads.auxiliary import AuxiliaryLabels
from hepgen.heads.build import build_head, head_from_dict
from hepgen.heads.classification import Classification
from hepgen.heads.decorrelation import DistanceCorrelation, distance_correlation
from hepgen.heads.head import Head
from hepgen.heads.joint import Joint
from hepgen.heads.regression import Regression

__all__ = [
    "Adversarial",
    "AuxiliaryLabels",
    "Classification",
    "DistanceCorrelation",
    "Head",
    "Joint",
    "Regression",
    "build_head",
    "distance_correlation",
    "head_from_dict",
]
