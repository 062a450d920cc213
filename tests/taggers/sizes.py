"""Arguments that make each tagger small, so that the contract tests are quick.

Every branch of the code stays on; only widths and the number of blocks shrink. The published sizes
are built in each tagger's own tests.
"""

from __future__ import annotations

from typing import Any

PARTICLE_NET: dict[str, Any] = {
    "conv_channels": ((16, 16, 16), (32, 32, 32), (48, 48, 48)),
    "fc_channels": (32,),
}

SMALL: dict[str, dict[str, Any]] = {
    "LLoCa": {"backbone": "ParticleNet", "backbone_arguments": PARTICLE_NET, "frame_hidden": 32},
    "LLoCaTransformer": {"blocks": 2, "heads": 4, "expansion": 2, "frame_hidden": 32},
    "EnergyFlowPolynomials": {"max_degree": 4},
    "LSTM": {"hidden": 48, "fc_channels": (32,)},
    "LGATr": {
        "scalars": ("delta_eta", "delta_phi", "log_pt"),
        "num_blocks": 2,
        "mv_channels": 4,
        "s_channels": 8,
        "heads": 2,
    },
    "LGATrSlim": {
        "scalars": ("delta_eta", "delta_phi", "log_pt"),
        "num_blocks": 2,
        "v_channels": 8,
        "s_channels": 16,
        "heads": 2,
    },
    # These jets are softer than those that the published scale is for.
    "LGN": {"channels": (2, 2, 2), "radial": 8, "scale": 0.2},
    "LorentzNet": {"hidden": 24, "blocks": 3},
    "LundNet": {"conv_channels": ((16, 16), (32, 32), (32, 32)), "fusion": 48},
    "LundNet3": {"conv_channels": ((16, 16), (32, 32), (32, 32)), "fusion": 48},
    "NSubjettiness": {"channels": (48, 48, 24), "dropout": (0.2, 0.1, 0.1)},
    "PELICAN": {"hidden": 24, "message": 16, "blocks": 2, "scalar_channels": 4},
    "ParticleNet": PARTICLE_NET,
    "ParticleNetPyG": {"conv_channels": ((16, 16, 16), (32, 32, 32)), "fc_channels": (32,)},
    "PCNN": {"stem": 16, "stages": ((16, 16), (16,), (32,)), "fc_channels": (32,)},
    "ParticleTransformer": {
        "embed_channels": (16, 32, 24),
        "pair_channels": (12, 8),
        "heads": 4,
        "num_blocks": 2,
    },
    "Transformer": {"channels": 24, "heads": 4, "num_blocks": 2},
    # Mirrors are random: without them training gives the same gradients twice.
    "ResNeXt50": {
        "blocks": (1, 1, 1),
        "stem": 16,
        "groups": 16,
        "group_width": 2,
        "channels": 32,
        "dropout": 0.1,
        "flip": 0.0,
    },
    "MIParT": {
        "embed_channels": (16, 24),
        "pair_channels": (8, 12),
        "heads": 4,
        "num_interaction_blocks": 2,
        "num_blocks": 1,
        "num_class_blocks": 1,
    },
}

# Steps and jets in each, where thirty steps on three times 48 jets teach too little: a network that
# is told neither of permutations nor of distances has to find them.
TRAINING: dict[str, tuple[int, int]] = {"LGN": (60, 48), "TopoDNN": (60, 200)}
