"""The mixture of what expert pooling gives: every routed expert's second layer, and the sum over them by the gates."""

from .reference import expert_mix_reference

__all__ = ["expert_mix_reference"]
