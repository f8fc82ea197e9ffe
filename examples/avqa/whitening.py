"""Features whitened by the training set: centred, rotated to principal components, scaled to unit variance.

N samples, D channels, R components kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

FLOOR = 1e-3
"""Added to each component's variance, as a fraction of the mean variance: directions of pure noise stay small."""


class Whitening(nn.Module):
    """`(x - mean) @ matrix`, both fixed by `fit` and saved with the model."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, dim: int, components: int) -> None:
        """Raises ValueError where `components` is not in 1 ... `dim`."""
        super().__init__()
        if not 1 <= components <= dim:
            raise ValueError(f"whiten must keep 1 ... {dim} components of {dim} channels, got {components}")
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("matrix", torch.eye(dim, components))

    @torch.no_grad()
    def fit(self, samples: Tensor) -> None:
        """Fits to samples [N, D]."""
        samples = samples.double()
        mean = samples.mean(0)
        variances, directions = torch.linalg.eigh((samples - mean).T @ (samples - mean) / max(len(samples) - 1, 1))
        variances, directions = variances.flip(0), directions.flip(1)
        components = self.matrix.shape[1]
        scale = (variances.clamp(min=0) + FLOOR * variances.mean()).clamp(min=1e-12).rsqrt()
        self.mean.copy_(mean)
        self.matrix.copy_((directions * scale)[:, :components])

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Whitens [..., D] to [..., R]."""
        return (features - self.mean) @ self.matrix


class FeatureWhitening(nn.Module):
    """One `Whitening` for each kind of features that is to be whitened; others pass through.

    Args:
        dims: channels of each kind of features.
        components: components to keep, for the kinds that are whitened.
        noise: standard deviation of the noise added to whitened features in training, where theirs is 1.

    Raises:
        ValueError: an unknown kind, or more components than channels.
    """

    def __init__(self, dims: Mapping[str, int], components: Mapping[str, int], noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        unknown = sorted(set(components) - set(dims))
        if unknown:
            raise ValueError(f"whiten names {', '.join(unknown)}; features are {', '.join(dims)}")
        self.kinds = nn.ModuleDict({kind: Whitening(dims[kind], kept) for kind, kept in components.items()})
        self.dims = {kind: components.get(kind, dim) for kind, dim in dims.items()}
        """Channels of each kind after whitening."""

    def fit(self, samples: Mapping[str, Tensor]) -> None:
        """Fits each kind to its samples [N, D]."""
        for kind, whitening in self.kinds.items():
            assert isinstance(whitening, Whitening)
            whitening.fit(samples[kind])

    def forward(self, kind: str, features: Tensor) -> Tensor:
        """Whitens features [..., D] of one kind, or returns them as they are."""
        if kind not in self.kinds:
            return features
        whitened: Tensor = self.kinds[kind](features)
        if self.training and self.noise:
            whitened = whitened + self.noise * torch.randn_like(whitened)
        return whitened
