"""Expert pooling: every routed expert's hidden layer over all frames, weighted and summed over time."""

from .activations import ACTIVATIONS
from .factored import expert_pool_factored
from .reference import expert_pool_reference

__all__ = ["ACTIVATIONS", "expert_pool_factored", "expert_pool_reference"]
