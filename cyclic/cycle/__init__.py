"""The cycles: the two stages in order, the run directory they write, and the progress they show."""
