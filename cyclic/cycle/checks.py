"""What is worth a word before a run starts: labels that will not count."""

import warnings

from cyclic.cycle.context import Context
from cyclic.datasets.tile_folder import count_placed
from cyclic.label_maps import is_foreground

NAMED = 3


def warn_of_unused_labels(context: Context) -> None:
    """Warn of val images without labels, of masks that are no label maps, and of negative tiles of unknown place."""
    scored = context.scored_ids
    without = [name for name in context.val_ids if name not in scored]
    if scored and without:
        warnings.warn(f"{context.data}: {_name(without)} of val have no labels and are not scored", stacklevel=2)
    assert context.val is not None or not scored
    masks = [name for name in scored if context.val and is_foreground(context.val.label_map(name))]
    if masks:
        warnings.warn(
            f"{context.data}: the labels of {_name(masks)} hold one label in many pieces, which is scored as one "
            "nucleus; give each nucleus a number of its own",
            stacklevel=2,
        )
    if context.config.tiles.folder and context.config.trusts_negative_tiles:
        _warn_of_tiles_without_a_place(context)


def _warn_of_tiles_without_a_place(context: Context) -> None:
    total, placed = count_placed(context.tiles, set(context.train.ids))
    if placed < total:
        warnings.warn(
            f"{context.tiles}: {total - placed} of {total} negative tiles are not named <image id>_<y>_<x> after a "
            "training image; they train the classifier, but mark no background",
            stacklevel=2,
        )


def _name(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} images ({', '.join(names[:NAMED])}{more})"
