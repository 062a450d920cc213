"""CaloFlow as it was published for dataset 1 of the CaloChallenge: arguments and training.

C. Krause, I. Pang and D. Shih, "CaloFlow for CaloChallenge dataset 1", arXiv:2210.14245, and the
program of its authors, whose settings these are.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from hepgen.simulators.preprocessing import RECIPES

__all__ = ["CaloFlowRecipe", "caloflow_recipe"]


class CaloFlowRecipe(NamedTuple):
    """What `CaloFlow` was published with.

    Attributes:
        arguments: of the constructor: ``CaloFlow.of(showers, **recipe.arguments)``.
        training: of ``fit``.
    """

    arguments: dict[str, Any]
    training: dict[str, Any]


def caloflow_recipe(particle: Literal["photons", "pions"]) -> CaloFlowRecipe:
    """The recipe for one of the samples of dataset 1.

    Numbers of parameters are the published ones to all digits: photons 28.0 M (energy flow and
    teacher), 56.6 M to generate (energy flow and student), 84.5 M trained; pions 57.1 M, 53.4 M and
    110 M.

    Different from the authors' program are: bins are not narrower than 1e-5 of the interval, not
    1e-6; the first voxel sees the context; the units of a network are spread over the voxels in
    another way; Adam's momentum does not follow the learning rate; contexts are scaled to mean 0
    and standard deviation 1, not to fixed ranges; the pions' student has the orders of its teacher.

    Args:
        particle: whose showers.

    Returns:
        Arguments of the constructor and of ``fit``.

    Raises:
        ValueError: there is no such recipe.
    """
    if particle not in ("photons", "pions"):
        raise ValueError(f"particle={particle!r}: there are 'photons' and 'pions'")
    photons = particle == "photons"
    arguments = {
        "energy_transforms": 6,
        "energy_hidden": 64,
        "energy_layers": 3,
        "num_transforms": 8,
        "hidden": 378 if photons else 533,
        "student_hidden": 736 if photons else 500,
        "layers": 2,
        "num_bins": 8,
        "tail_bound": 14.0,
        "min_bin": 1e-5,
        "dropout": 0.05,
        "to_and_fro": False,
        "guided": photons,
        "beta": 0.5,
        "from_teacher": False,
        "marginal_bins": 0,
        "preprocessing": dict(RECIPES["CaloFlow"]),
    }
    training = {
        "optimizer": "adam",
        "weight_decay": 0.0,
        "precision": "64-true",
        "augment": False,
        "epochs": 100,
        "lr": 1e-3,
        "schedule": "cosine_cycle",
        "batch_size": 200 if photons else 500,
        "stages": {
            "teacher": {"lr": 2e-3, "schedule": "halving_triangles"},
            "student": {"batch_size": 175} | ({} if photons else {"epochs": 150}),
        },
    }
    return CaloFlowRecipe(arguments, training)
