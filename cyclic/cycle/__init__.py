"""The cycles: the stages of a run in order, and what they share."""
