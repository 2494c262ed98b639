"""The stain's map or the activation map -> pseudo masks: threshold, split, score, select. No instance label is read."""
