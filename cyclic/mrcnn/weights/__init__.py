"""Weights files: Matterport's h5 layout, public weights and their download."""
