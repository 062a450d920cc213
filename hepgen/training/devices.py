"""Devices, precision and ranks: Fabric, set up from what the job was started with."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["launched_ranks", "make_fabric"]


def launched_ranks(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """How many processes a launcher has started, if one has.

    Args:
        environment: environment variables.

    Returns:
        (processes on each node, nodes) under torchrun or srun, else None.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        local = int(environment["LOCAL_WORLD_SIZE"])
        return local, int(environment["WORLD_SIZE"]) // local
    shell = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS_PER_NODE" in environment and not shell:
        return int(environment["SLURM_NTASKS_PER_NODE"]), int(environment["SLURM_NNODES"])
    return None


def make_fabric(accelerator: str, devices: int | str | list[int], precision: str) -> Fabric:
    """A launched Fabric.

    Args:
        accelerator: "auto", "cpu", "cuda", "mps".
        devices: number or list of devices; "auto" is one for each process that torchrun or srun
            started, and a single one without them, so that nothing forks behind the user's back.
        precision: as Lightning spells it, such as "32-true" or "bf16-mixed".

    Returns:
        The Fabric of this rank.

    Raises:
        ValueError: Lightning does not know the accelerator or precision.
        RuntimeError: the machine has no such device.
    """
    from lightning.fabric import Fabric

    nodes = 1
    if devices == "auto":
        devices, nodes = launched_ranks(os.environ) or (1, 1)
    chosen: Any = precision
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=chosen)
    fabric.launch()
    if fabric.world_size > 1:
        atexit.register(_leave_ranks)
    return fabric


def _leave_ranks() -> None:
    """End the process group while Python still runs.

    Its threads would otherwise be ended by the process, which now and then aborts instead.
    """
    import torch.distributed as ranks

    if ranks.is_available() and ranks.is_initialized():
        ranks.destroy_process_group()
