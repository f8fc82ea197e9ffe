"""The stateless operations under the layers; the layers call nothing else."""

from .linear_map import linear
from .pool import gaussian_expert_pool
from .weights import gaussian_weights

__all__ = ["gaussian_expert_pool", "gaussian_weights", "linear"]
