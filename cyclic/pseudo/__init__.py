"""Activation map -> pseudo masks: threshold, split, score, select. No instance label is ever read here."""
