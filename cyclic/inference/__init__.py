"""From tiles to a whole image and from a whole image to the files other tools read."""
