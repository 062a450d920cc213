"""How networks that tell samples apart are built and trained: by name, or one's own.

Shapes: F features, M samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hepgen.simulators.discriminator import DenseDiscriminator, Discriminator
from hepgen.simulators.labelled import Labelled
from hepgen.simulators.residual_discriminator import ResidualDiscriminator

__all__ = ["RECIPES", "Recipe", "recipe_of"]


@dataclass(frozen=True)
class Recipe:
    """A network and its training.

    Attributes:
        kind: class of the network.
        network: arguments of its constructor.
        training: arguments of `hepgen.fit`.
    """

    kind: type[Discriminator] = DenseDiscriminator
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def trained(
        self,
        train: Labelled,
        validation: Labelled,
        *,
        num_classes: int = 2,
        shape: tuple[int, int, int] | None = None,
        seed: int = 0,
        progress: bool = False,
        **more: Any,
    ) -> Discriminator:
        """A network trained by this recipe.

        Args:
            train: what it learns from.
            validation: what chooses its epoch.
            num_classes: number of samples M.
            shape: layers, sectors and rings, for networks that look at pictures.
            seed: of all random numbers.
            progress: show a bar.
            **more: arguments of `hepgen.fit` in place of those of the recipe.

        Raises:
            ValueError: one of the samples is missing.
        """
        network = dict(self.network)
        if self.kind is ResidualDiscriminator:
            network["shape"] = shape
        made, _ = self.kind.trained(
            train,
            validation,
            num_classes=num_classes,
            network=network,
            seed=seed,
            progress=progress,
            **{**self.training, **more},
        )
        return made


# What the challenge trains all its classifiers with.
CHALLENGE: Mapping[str, Any] = {
    "optimizer": "adam",
    "weight_decay": 0.0,
    "schedule": "constant",
    "lr": 2e-4,
    "batch_size": 1000,
    "epochs": 50,
}
RECIPES: Mapping[str, Recipe] = {
    "quick": Recipe(
        DenseDiscriminator,
        {"hidden": (256, 256), "dropout": 0.2},
        {
            "optimizer": "adamw",
            "weight_decay": 1e-2,
            "schedule": "cosine",
            "lr": 2e-3,
            "batch_size": 128,
            "epochs": 30,
            "patience": 6,
        },
    ),
    "challenge": Recipe(
        DenseDiscriminator,
        {"hidden": (2048, 2048, 2048), "standardise": False, "select": "accuracy"},
        {**CHALLENGE, "precision": "64-true"},
    ),
    "resnet": Recipe(ResidualDiscriminator, {"select": "accuracy"}, CHALLENGE),
}


def recipe_of(recipe: str | Recipe) -> Recipe:
    """The recipe of a name.

    Args:
        recipe: a name, or a recipe already.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    return RECIPES[recipe]
