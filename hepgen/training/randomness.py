"""Random numbers as a pure function of where the run stands: a resume needs no RNG state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["isolated_randomness", "seed_of", "seed_torch"]


def seed_of(*parts: object) -> int:
    """A seed from anything with a stable repr, such as ("train", seed, epoch, batch, rank).

    Args:
        *parts: numbers and strings.

    Returns:
        The first 63 bits of the SHA-256 of the repr; streams of different parts are independent.
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of one device, and no others.

    Args:
        seed: what to seed with.
        device: where the model is.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def isolated_randomness(device: torch.device) -> Iterator[None]:
    """Give the caller's random numbers back when the block ends.

    Args:
        device: where the model is.

    Yields:
        Nothing; inside the block torch may be seeded at will.
    """
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
