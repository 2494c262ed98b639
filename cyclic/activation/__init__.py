"""Activation maps: image -> map in [0, 1] that says where the classifier sees nuclei."""

from cyclic.activation.maps import METHODS, activation_map

__all__ = ["METHODS", "activation_map"]
