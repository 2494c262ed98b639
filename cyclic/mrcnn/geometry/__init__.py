"""Boxes, masks, anchors and sizes: arithmetic without weights. `*_numpy` works on arrays, `boxes` on tensors."""
