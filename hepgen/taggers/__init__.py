"""Taggers: jets to class probabilities, one architecture a file.

``__all__`` is the list of architectures: their names are those of pipelines and model files. How to
add one is told by `Tagger`.
"""

from hepgen.taggers.energy_flow_network import EnergyFlowNetwork
from hepgen.taggers.energy_flow_polynomials import EnergyFlowPolynomials
from hepgen.taggers.interaction_network import InteractionNetwork
from hepgen.taggers.lgatr import LGATr
from hepgen.taggers.lgatr_slim import LGATrSlim
from hepgen.taggers.lgn import LGN
from hepgen.taggers.lloca import LLoCa
from hepgen.taggers.lloca_transformer import LLoCaTransformer
from hepgen.taggers.lorentz_net import LorentzNet
from hepgen.taggers.lstm import LSTM
from hepgen.taggers.lund_net import LundNet, LundNet3
from hepgen.taggers.mi_part import MIParT
from hepgen.taggers.n_subjettiness import NSubjettiness
from hepgen.taggers.p_cnn import PCNN
from hepgen.taggers.particle_flow_network import ParticleFlowNetwork
from hepgen.taggers.particle_net import ParticleNet, ParticleNetLite
from hepgen.taggers.particle_net_pyg import ParticleNetPyG
from hepgen.taggers.particle_transformer import ParticleTransformer
from hepgen.taggers.pelican import PELICAN
from hepgen.taggers.recursive_network import RecursiveNetwork
from hepgen.taggers.resnext50 import ResNeXt50
from hepgen.taggers.tagger import Tagger
from hepgen.taggers.topo_dnn import TopoDNN
from hepgen.taggers.transformer import Transformer

__all__ = [
    "LGN",
    "LSTM",
    "PCNN",
    "PELICAN",
    "EnergyFlowNetwork",
    "EnergyFlowPolynomials",
    "InteractionNetwork",
    "LGATr",
    "LGATrSlim",
    "LLoCa",
    "LLoCaTransformer",
    "LorentzNet",
    "LundNet",
    "LundNet3",
    "MIParT",
    "NSubjettiness",
    "ParticleFlowNetwork",
    "ParticleNet",
    "ParticleNetLite",
    "ParticleNetPyG",
    "ParticleTransformer",
    "RecursiveNetwork",
    "ResNeXt50",
    "Tagger",
    "TopoDNN",
    "Transformer",
]
