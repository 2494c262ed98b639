"""Instance metrics of label maps: what overlaps what, the scores, their tables, and the baseline without labels."""
