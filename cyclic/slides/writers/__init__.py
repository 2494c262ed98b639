"""Files of any size, written while the nuclei come: outlines, tables, label images.

A writer is a context manager. It is given `Nuclei` after `Nuclei`, and its file is whole when the block has ended.
"""
