r"""What every flow is: an invertible transform of data into a density known in closed form.

.. math:: \log p(x | c) = \log p_0(z) + \log \left| \det \partial z / \partial x \right|,
   \quad z = T(x; c)

G. Papamakarios et al., "Normalizing flows for probabilistic modeling and inference", JMLR 22
(2021) 57, arXiv:1912.02762, eq. (3).

Shapes: B points, D dimensions, C context, S samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from nflows import flows
from nflows.transforms import CompositeTransform, Transform
from torch import Tensor

from hepgen.arguments import kept_arguments
from hepgen.flows.bases import Base
from hepgen.paper import Paper

__all__ = ["Flow"]


class Flow(flows.Flow):  # type: ignore[misc]
    """A density of points, given a context if it has one, that can be evaluated and drawn from.

    Under the contract of nflows. A named flow is a final subclass with ``__init__(self, dimension,
    context=0, ...)`` whose arguments are kept as attributes of their own names, so that a model
    file can hold it.

    Args:
        transform: of nflows or hepgen; ``forward`` takes data x to latent z, ``inverse`` back.
        base: density of the latent points.
        context: width C of what the density is conditional on; 0 for none.

    Attributes:
        dimension: D.
        context: C.
        paper: where the flow is from; None for one's own.
    """

    paper: ClassVar[Paper | None] = None
    dimension: int
    context: int

    def __init__(self, transform: Transform, base: Base, context: int = 0) -> None:
        super().__init__(transform, base)
        self.dimension = base.dimension
        self.context = context

    @property
    def transform(self) -> Transform:
        """The transform of data x into latent z."""
        return self._transform

    @property
    def base(self) -> Base:
        """The density of the latent points."""
        base: Base = self._distribution
        return base

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log density, as ``log_prob`` gives it: ``torch.compile`` and hooks go through here.

        Args:
            x: points, shape (B, D).
            context: what they are conditional on, shape (B, C).
        """
        self._check_points(x)
        self._check_context(context, len(x))
        log_prob: Tensor = self._log_prob(x, context)
        return log_prob

    def log_prob(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """Logarithm of the density.

        Args:
            inputs: points, shape (B, D), of the type of the weights.
            context: what they are conditional on, a row for each point, shape (B, C).

        Returns:
            Shape (B,); -inf where the density is zero.

        Raises:
            ValueError: other dimensions, context missing or unexpected, of another width or number
                of rows.
            TypeError: points or context of another type than the weights.
        """
        log_prob: Tensor = self(inputs, context)
        return log_prob

    def sample(
        self,
        num_samples: int,
        context: Tensor | None = None,
        batch_size: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw points; gradients flow to the weights unless ``torch.no_grad()`` is on.

        Args:
            num_samples: S, how many, for each row of the context if there is one.
            context: what they are conditional on, shape (B, C).
            batch_size: transform so many (for each row) at a time, which bounds the memory.
            generator: where the random numbers come from; torch's own if not given. It has to be
                one of the device of the weights.

        Returns:
            Shape (S, D), or (B, S, D) with a context.

        Raises:
            ValueError: a negative number, or a context as ``log_prob`` would not take it.
            TypeError: a context of another type than the weights.
        """
        if batch_size is None or num_samples <= batch_size:
            return self.sample_and_log_prob(num_samples, context, generator=generator)[0]
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1, not {batch_size}")
        sizes = [min(batch_size, num_samples - at) for at in range(0, num_samples, batch_size)]
        parts = [self.sample(size, context, generator=generator) for size in sizes]
        return torch.cat(parts, dim=-2)

    def sample_and_log_prob(
        self,
        num_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw points with their log densities, in one pass through the transform.

        Args:
            num_samples: S, how many, for each row of the context if there is one.
            context: what they are conditional on, shape (B, C).
            generator: where the random numbers come from.

        Returns:
            Points (S, D) and log densities (S,); (B, S, D) and (B, S) with a context.

        Raises:
            ValueError: as ``sample``.
            TypeError: as ``sample``.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples should be 0 at least, not {num_samples}")
        self._check_context(context)
        rows = num_samples if context is None else context.shape[0] * num_samples
        # Of bases that are not ours only those with a generator can be told of one.
        more = {} if generator is None else {"generator": generator}
        noise = self._distribution.sample(rows, **more)  # (rows, D)
        log_prob = self._distribution.log_prob(noise)
        repeated = context
        if context is not None:
            repeated = context[:, None].expand(-1, num_samples, -1).reshape(rows, self.context)
        x, logabsdet = self._transform.inverse(noise, context=repeated)
        log_prob = log_prob - logabsdet
        if context is None:
            return x, log_prob
        shape = (context.shape[0], num_samples)
        return x.view(*shape, self.dimension), log_prob.view(shape)

    def transform_to_noise(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """The latent points of some data: independent draws of the base, if the flow is right.

        Args:
            inputs: points, shape (B, D).
            context: what they are conditional on, shape (B, C).

        Returns:
            Shape (B, D).

        Raises:
            ValueError: as ``log_prob``.
            TypeError: as ``log_prob``.
        """
        self._check_points(inputs)
        self._check_context(context, len(inputs))
        noise: Tensor = self._transform(inputs, context=context)[0]
        return noise

    def loss(self, batch: Any) -> Tensor:
        """Mean over the points of weight times the negative log density, at least in float32.

        Args:
            batch: with attributes ``x`` (B, D), ``context`` (B, C) or None, and ``weight`` (B,) or
                None. Weights may be negative; they are not normalised here.

        Returns:
            A scalar, 0 for a batch of no points.

        Raises:
            ValueError: as ``log_prob``, or weights of another shape.
            TypeError: as ``log_prob``.
        """
        log_prob: Tensor = self(batch.x, batch.context)
        if log_prob.dtype in (torch.float16, torch.bfloat16):
            log_prob = log_prob.float()
        weight = batch.weight
        if weight is not None:
            if weight.shape != log_prob.shape:
                raise ValueError(
                    f"weight should be of shape {tuple(log_prob.shape)}, not {tuple(weight.shape)}"
                )
            log_prob = log_prob * weight
        return -log_prob.sum() / max(len(log_prob), 1)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let what begins from data (`ActNorm`) begin from these.

        Layers that have begun already stay as they are, and so do all others: there is no harm in
        calling it for any flow, before any training.

        Args:
            x: points, shape (B, D); a thousand do.
            context: what they are conditional on, shape (B, C).

        Raises:
            ValueError: as ``log_prob``, or too few points.
            TypeError: as ``log_prob``.
        """
        self._check_points(x)
        self._check_context(context, len(x))
        if any(hasattr(part, "initialize") for part in self._transform.modules()):
            _initialize(self._transform, x, context)

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor, as JSON can hold them.

        Returns:
            Name -> value, sequences as lists: ``type(flow)(**config)`` is the same architecture.

        Raises:
            TypeError: the flow does not keep an argument as an attribute of its name, or JSON
                cannot hold it, as the parts of a `Flow` put together by hand.
        """
        return kept_arguments(self)

    def save(self, path: str | Path) -> None:
        """Write weights and configuration into one file.

        Args:
            path: ``*.safetensors``; `hepgen.load` reads it.

        Raises:
            CheckpointError: the configuration is not JSON-able.
            OSError: the file cannot be written.
        """
        from hepgen import checkpoint

        checkpoint.save(self, path)

    def _check_points(self, x: Tensor) -> None:
        if x.dim() != 2 or x.shape[1] != self.dimension:
            raise ValueError(
                f"{type(self).__name__} has points of shape (B, {self.dimension}), "
                f"not {tuple(x.shape)}"
            )
        self._check_type(x, "x")

    def _check_context(self, context: Tensor | None, rows: int | None = None) -> None:
        """A clear error for a context that is not this flow's; with one row a point, if given."""
        name = type(self).__name__
        if context is None:
            if self.context:
                raise ValueError(f"{name} needs a context of shape (B, {self.context})")
            return
        if not self.context:
            raise ValueError(
                f"{name} was made without context (context=0), but was given one of shape "
                f"{tuple(context.shape)}"
            )
        if context.dim() != 2 or context.shape[1] != self.context:
            raise ValueError(
                f"{name} needs a context of shape (B, {self.context}), not {tuple(context.shape)}"
            )
        if rows is not None and context.shape[0] != rows:
            raise ValueError(f"{name}: {rows} points, but {context.shape[0]} rows of context")
        self._check_type(context, "context")

    def _check_type(self, tensor: Tensor, what: str) -> None:
        own = self._distribution.origin.dtype
        if tensor.dtype != own:
            raise TypeError(
                f"{type(self).__name__} is of {own}, {what} of {tensor.dtype}; "
                f"use {what}.to({own}) or flow.to({tensor.dtype})"
            )


def _initialize(transform: Transform, x: Tensor, context: Tensor | None) -> Tensor:
    """Let a transform and its parts begin from data; what they then give, (B, D)."""
    if isinstance(transform, CompositeTransform):
        for part in transform._transforms:
            x = _initialize(part, x, context)
        return x
    if hasattr(transform, "initialize"):
        transform.initialize(x)
    outputs: Tensor = transform(x, context)[0]
    return outputs
