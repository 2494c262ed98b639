"""The one exception that means "the input is wrong", not "the program is wrong"."""


class InputError(ValueError):
    """Bad input or wrong use: one line that names the file or key and the cure.

    The command line prints the line on stderr and exits with code 2; every other exception is a defect.
    """
