"""Gaussian temporal weights: centers and stds of the experts in use, frame times -> one weight a frame."""

from .reference import gaussian_weights_reference, reciprocal
from .windows import NORMALIZATIONS, WINDOWS

__all__ = ["NORMALIZATIONS", "WINDOWS", "gaussian_weights_reference", "reciprocal"]
