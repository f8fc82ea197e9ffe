"""Gaussian temporal weights: centers and stds of the experts in use, frame times -> one weight a frame."""

from .reference import gaussian_weights_reference

__all__ = ["gaussian_weights_reference"]
