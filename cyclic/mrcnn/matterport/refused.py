"""Names of Matterport that nothing can stand behind; each says so, and what to do instead."""

from cyclic.errors import InputError


def mold_mask(mask, config):
    """Refuse: Matterport's function of this name was never written and returns None.

    Raises:
        InputError: always.
    """
    raise InputError("mold_mask: Matterport never wrote this function, and it does nothing there; use minimize_mask")
