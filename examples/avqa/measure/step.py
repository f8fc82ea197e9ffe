"""One training step of QA-TIGER at given sizes, by either implementation, from the same weights and inputs.

B batch, T frames, N patches of one frame, L words, A answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import record_function

from ..checkpoint import to_released
from ..model import QATiger
from .published import PublishedQATiger

Implementation = Literal["published", "ours"]
Precision = Literal["float32", "bfloat16"]
LEARNING_RATE, BETAS = 1e-4, (0.95, 0.999)


@dataclass(frozen=True)
class Sizes:
    """Of one batch and of the model; by default the published ones."""

    B: int = 32
    T: int = 60
    N: int = 14
    L: int = 77
    audio: int = 128
    """Channels of the audio features."""
    video: int = 768
    """Channels of the features of frames, question and words."""
    patches: int = 1024
    """Channels of the patch features."""
    D: int = 512
    E: int = 7
    K: int = 7
    answers: int = 42
    heads: int = 8


@dataclass(frozen=True)
class Batch:
    """Synthetic features, normally distributed, and random answers."""

    inputs: tuple[Tensor, ...]
    """Audio [B, T, .], video [B, T, .], patches [B, T, N, .], question [B, .] and words [B, L, .]."""
    answers: Tensor
    """[B] int64"""

    def part(self, start: int, stop: int, dtype: torch.dtype) -> Batch:
        """Some of the clips, in another dtype."""
        return Batch(tuple(x[start:stop].to(dtype) for x in self.inputs), self.answers[start:stop])


def synthetic_batch(sizes: Sizes, device: str) -> Batch:
    """The batch of these sizes, always the same one."""
    generator = torch.Generator().manual_seed(0)
    frames = (sizes.B, sizes.T)
    shapes = (
        (*frames, sizes.audio),
        (*frames, sizes.video),
        (*frames, sizes.N, sizes.patches),
        (sizes.B, sizes.video),
        (sizes.B, sizes.L, sizes.video),
    )
    inputs = tuple(torch.randn(shape, generator=generator).to(device) for shape in shapes)
    return Batch(inputs, torch.randint(sizes.answers, (sizes.B,), generator=generator).to(device))


def initial_state(sizes: Sizes) -> dict[str, Tensor]:
    """Freshly initialised weights of our model, always the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _ours(sizes).state_dict()


class TrainingStep:
    """Forward, cross-entropy, backward and Adam of one implementation.

    Args:
        implementation: "published" or "ours".
        precision: "float32", or "bfloat16" for autocast.
        compiled: run the model through `torch.compile`.
        sizes: of the model.
        state: weights under our names.
        batch: what every step is given.
    """

    def __init__(
        self,
        implementation: Implementation,
        precision: Precision,
        compiled: bool,
        sizes: Sizes,
        state: dict[str, Tensor],
        batch: Batch,
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}")
        self.implementation, self.precision, self.compiled = implementation, precision, compiled
        self.batch, device = batch, batch.answers.device
        self.model: nn.Module = make_model(implementation, sizes, state).to(device)
        self._call: Callable[..., Any] = torch.compile(self.model, dynamic=False) if compiled else self.model
        # As the published training has it: torch's own choice. Ours asks for one pass over all parameters.
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE, BETAS)

    @property
    def name(self) -> str:
        """As tables name it."""
        return f"{self.implementation}{', compiled' if self.compiled else ''}, {self.precision}"

    def loss(self) -> Tensor:
        """Mean cross-entropy of the batch, in the mode that the model is in."""
        device = self.batch.answers.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            found = self._call(*self.batch.inputs)
        with record_function("part: loss"):
            return F.cross_entropy(logits_of(found).float(), self.batch.answers)

    def gradients(self) -> tuple[float, dict[str, Tensor]]:
        """The loss without dropout and its gradients under the published names; leaves no gradient behind."""
        with _mode(self.model, training=False):
            self.optimizer.zero_grad()
            loss = self.loss()
            torch.autograd.backward(loss)
            found = {name: parameter.grad for name, parameter in self.model.named_parameters()}
            self.optimizer.zero_grad()
        gradients = {name: gradient for name, gradient in found.items() if gradient is not None}
        return loss.item(), to_released(gradients) if self.implementation == "ours" else gradients

    def __call__(self) -> None:
        """One step of training, dropout on."""
        self.optimizer.zero_grad()
        torch.autograd.backward(self.loss())
        with record_function("part: optimizer"):
            self.optimizer.step()


def make_model(implementation: Implementation, sizes: Sizes, state: dict[str, Tensor]) -> nn.Module:
    """The model in training mode, with weights given under our names."""
    if implementation == "ours":
        model: nn.Module = _ours(sizes)
        model.load_state_dict(state)
        return model
    model = PublishedQATiger(
        sizes.audio, sizes.video, sizes.patches, sizes.D, sizes.answers, sizes.E, sizes.K, sizes.heads
    )
    model.load_state_dict(to_released(state))
    return model


def logits_of(found: Any) -> Tensor:
    """The logits in what either model returns."""
    logits: Tensor = found if isinstance(found, Tensor) else found.logits
    return logits


def _ours(sizes: Sizes) -> QATiger:
    return QATiger(
        audio_dim=sizes.audio,
        video_dim=sizes.video,
        patch_dim=sizes.patches,
        dim=sizes.D,
        num_answers=sizes.answers,
        num_experts=sizes.E,
        top_k=sizes.K,
        heads=sizes.heads,
    )


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)
