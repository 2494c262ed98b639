"""Trained models by name: those that the package ships, and those that a user registers."""
