"""The stages of a run, one file each: a stage reads files of earlier stages, calls the method, and writes its own.

So a run can go on after any of them.
"""
