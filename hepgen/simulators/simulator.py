"""What every simulator is: incident particles in, showers out.

Shapes: B showers, V voxels, C context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hepgen.arguments import kept_arguments
from hepgen.calorimeter import Geometry, GeometryError, ShowerError, Showers
from hepgen.paper import Paper
from hepgen.simulators.batches import ShowerBatch, ShowerBatches, ShowerSource
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.incident import Incident
from hepgen.simulators.kept import Kept
from hepgen.simulators.stages import fit_stages
from hepgen.training import History
from hepgen.training.randomness import seed_of

__all__ = ["Simulator"]


class Simulator(Kept, ABC):
    """Showers of a calorimeter, given the particles that hit it.

    A simulator is a final subclass with ``__init__(self, geometry, conditions, *, ...)``, whose
    other arguments have defaults and are kept as attributes of their own names, ``prepare``,
    ``loss`` and ``generate``. What it has to know of the sample besides its weights, such as the
    means of a preprocessing, it keeps in buffers.

    ``sample`` makes showers in blocks of a fixed size, each with random numbers of its own: shower
    i of a seed is the same bit for bit however many are asked for, in how many pieces, by how many
    processes, as long as block, threads and device stay.

    Args:
        geometry: of the voxels, or what `Geometry.to_dict` gave.
        conditions: what the showers depend on, or what `Conditions.to_dict` gave.

    Attributes:
        geometry: as given.
        conditions: as given.
        paper: where the simulator is from; None for one's own.
        block: showers that ``sample`` makes at a time if it is not told.
        defaults: arguments of ``fit`` that go with the architecture.
    """

    paper: ClassVar[Paper | None] = None
    block: ClassVar[int] = 64
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, geometry: Geometry | Mapping[str, Any], conditions: Conditions | Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.geometry = geometry if isinstance(geometry, Geometry) else Geometry.from_dict(geometry)
        self.conditions = (
            conditions if isinstance(conditions, Conditions) else Conditions.from_dict(conditions)
        )

    @classmethod
    def of(cls, showers: Showers, **arguments: Any) -> Self:
        """A simulator, untrained, for the geometry and conditions of a sample.

        Args:
            showers: what it will be trained on.
            **arguments: of the constructor.

        Raises:
            ShowerError: there are no showers.
            TypeError: there is no such argument.
        """
        return cls(showers.geometry, Conditions.of(showers), **arguments)

    @abstractmethod
    def loss(self, batch: ShowerBatch) -> Tensor:
        """What training makes small; random numbers are torch's own, seeded by the trainer.

        Args:
            batch: showers.
        """

    @abstractmethod
    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Voxels of some showers.

        Args:
            incident_energy: in GeV, shape (B,).
            context: as `Conditions.encode` gives it, shape (B, C).
            generator: of all random numbers, on the CPU: numbers are drawn there and moved.

        Returns:
            Energies in GeV, 0 or at least the threshold of the geometry, shape (B, V).
        """

    def prepare(self, showers: Showers) -> None:
        """Learn what is not learnt by gradients, such as means and widths, before training.

        Args:
            showers: the training sample, cut at the threshold of this simulator's geometry; of a
                long one 20 000 from all over it.
        """

    def stages(self) -> Mapping[str, nn.Module]:
        """What is trained one after the other, each with its own ``loss(batch)``.

        Returns:
            Name -> module; a simulator of one stage is its own.
        """
        return {"model": self}

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor, as JSON can hold them."""
        kept = kept_arguments(self, without=("geometry", "conditions"))
        own = {"geometry": self.geometry.to_dict(), "conditions": self.conditions.to_dict()}
        return own | kept

    def batches(
        self,
        showers: ShowerSource,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        augment: bool = False,
    ) -> ShowerBatches:
        """Batches for the trainer, voxels below the threshold of this simulator's geometry emptied.

        Args:
            showers: in memory or in files.
            batch_size: greatest number of showers in a batch.
            shuffle: whether the order changes with the epoch.
            seed: of the order.
            rank: which process this is.
            world_size: number of processes.
            augment: whether showers are turned about the axis, where that is a symmetry.

        Raises:
            GeometryError: the showers are of another calorimeter.
        """
        self.check_geometry(showers.geometry)
        return ShowerBatches(
            showers,
            self.conditions,
            batch_size=batch_size,
            shuffle=shuffle,
            augment=augment,
            seed=seed,
            rank=rank,
            world_size=world_size,
            threshold=self.geometry.threshold,
        )

    def fit(
        self,
        showers: ShowerSource,
        *,
        validation: float | ShowerSource | None = 0.1,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        augment: bool = True,
        stages: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        output: str | Path | None = None,
        resume: Literal["auto"] | bool = "auto",
        progress: bool = True,
        **more: Any,
    ) -> dict[str, History]:
        """Train on showers of the full simulation.

        At the end the simulator holds the weights of lowest validation loss and is in evaluation
        mode. What is not given is as in ``defaults``, which each simulator tells.

        Args:
            showers: the sample, `Showers` or files of it.
            validation: share of the sample, from 0 to 1; or a sample of its own; None for none.
            epochs: passes over the sample.
            batch_size: greatest number of showers in a batch.
            lr: peak learning rate.
            augment: turn showers about the axis at random, in a calorimeter whose geometry says
                that this is a symmetry.
            stages: arguments for some of the stages alone, ``{"student": {"epochs": 20}}``.
            seed: decides the validation showers, the order, and all random numbers of the training.
            output: folder of the run, from which the same call goes on after a kill, bit for bit.
                It gets ``model.safetensors``, and a folder for each stage if there are several.
            resume: see `hepgen.fit`.
            progress: show a bar, or one line an epoch.
            **more: other arguments of `hepgen.fit`, such as ``ema``, ``precision``, ``patience``;
                ``ema=0`` and ``clip=0`` for none, where ``defaults`` have some.

        Returns:
            Stage -> its history; what that calls jets are showers.

        Raises:
            GeometryError: the showers are of another calorimeter.
            ShowerError: too few showers, or other conditions than the simulator's.
            ValueError: an argument makes no sense.
            TypeError: `hepgen.fit` has no such argument, or there is no such stage.
            NotFinite: the loss became NaN or infinite.
            TrainingError: the run in ``output`` is another one, or damaged.
        """
        given = {"epochs": epochs, "batch_size": batch_size, "lr": lr, **more}
        settings = {
            name: None if name in ("ema", "clip") and value == 0 else value
            for name, value in given.items()
            if value is not None
        }
        return fit_stages(
            self,
            showers,
            validation=validation,
            augment=augment,
            settings=settings,
            stages=stages or {},
            seed=seed,
            output=None if output is None else Path(output),
            resume=resume,
            progress=progress,
        )

    def sample(
        self,
        n: int | None = None,
        incident_energy: Incident | None = None,
        *,
        conditions: Mapping[str, ArrayLike] | None = None,
        seed: int = 0,
        block: int | None = None,
    ) -> Showers:
        """Showers, in memory.

        Args:
            n: how many; as many as there are energies if not given.
            incident_energy: in GeV: one number, one for each shower, or a range "1:100" of which
                energies are drawn evenly in their logarithm; the trained range if not given.
            conditions: other conditions, each one value or one for each shower.
            seed: the same seed gives the same showers.
            block: showers computed at a time; larger ones suit GPUs.

        Returns:
            The showers, with their conditions, ``event`` counting from 0.

        Raises:
            ShowerError: an energy that is none, or conditions that do not go together.

        Warns:
            EnergyRangeWarning: energies or other conditions that were not trained on.
        """
        pieces = list(
            self.stream(n, incident_energy, conditions=conditions, seed=seed, block=block)
        )
        return Showers.joined(pieces)

    def stream(
        self,
        n: int | None = None,
        incident_energy: Incident | None = None,
        *,
        conditions: Mapping[str, ArrayLike] | None = None,
        seed: int = 0,
        block: int | None = None,
        blocks: range | None = None,
    ) -> Iterator[Showers]:
        """The showers of ``sample``, block by block.

        Args:
            n: see ``sample``.
            incident_energy: likewise.
            conditions: likewise.
            seed: likewise.
            block: likewise.
            blocks: numbers of the blocks that are wanted, all if not given.

        Yields:
            Showers, ``block`` of them; fewer in the last block.

        Raises:
            ShowerError: see ``sample``.
        """
        from hepgen.simulators.incident import incident_particles

        size = self.block if block is None else block
        if size < 1:
            raise ShowerError(f"block={size}: wanted 1 at least")
        energy, given = incident_particles(self.conditions, n, incident_energy, conditions, seed)
        context = self.conditions.encode(energy, given)
        whole = range(-(-len(energy) // size))
        wanted = whole if blocks is None else blocks
        if any(number not in whole for number in wanted):
            raise ShowerError(f"blocks={blocks}: there are {len(whole)} blocks, from 0 on")
        for number in wanted:
            rows = np.arange(number * size, min((number + 1) * size, len(energy)))
            # A block is computed whole, as products of matrices depend on their size in the last
            # bit.
            padded = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows))])
            voxels = self._block(
                energy[padded], context[padded], seed_of("showers", int(seed), number)
            )
            yield Showers(
                self.geometry,
                energy[rows],
                voxels[: len(rows)],
                {name: values[rows] for name, values in given.items()},
                event=rows.astype(np.int64),
            )

    def _block(
        self, energy: NDArray[np.float64], context: NDArray[np.float32], seed: int
    ) -> NDArray[np.float32]:
        device = self.device
        generator = torch.Generator().manual_seed(seed)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                voxels = self.generate(
                    torch.from_numpy(energy.astype(np.float32)).to(device),
                    torch.from_numpy(context).to(device),
                    generator,
                )
        finally:
            self.train(was_training)
        found: NDArray[np.float32] = voxels.float().cpu().numpy()
        return found

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        tensors = [*self.parameters(), *self.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def check_geometry(self, geometry: Geometry) -> None:
        """Refuse showers of another calorimeter.

        Args:
            geometry: of the showers.

        Raises:
            GeometryError: its voxels are not those of this simulator.
        """
        if not self.geometry.same_voxels(geometry):
            raise GeometryError(
                f"{type(self).__name__} is for {self.geometry}, the showers are in {geometry}"
            )
