"""Kept for programs written for Matterport's Mask R-CNN; nothing of this package's own method uses it."""
