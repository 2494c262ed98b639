"""Pseudo masks of a cycle: the best candidates, and from the second cycle on the last model's detections."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from skimage.segmentation import relabel_sequential

from cyclic.cycle.context import Context
from cyclic.cycle.stages import maps
from cyclic.cycle.stages.detections import join, make_missing
from cyclic.files import write_json
from cyclic.pseudo.background import clear_background
from cyclic.pseudo.candidates import Candidates, find_candidates
from cyclic.pseudo.masks import PseudoMasks, load_pseudo_masks, save_pseudo_masks
from cyclic.pseudo.recipe import recipe_of
from cyclic.pseudo.select import run_cut, select_pseudo_masks

# Images whose candidates are found side by side: OpenCV and the watershed let go of Python's lock, the rest does not.
THREADS = 2


def make(context: Context, cycle: int) -> None:
    """Write the pseudo masks that the cycle's teacher trains on, of the training and the val images.

    Candidates of the stain are the same in every cycle, so the first cycle's choice serves the later ones.
    """
    folder = context.cycle(cycle).pseudo()
    if cycle == 1 or recipe_of(context.config).reads_activation:
        chosen = _choose(context, cycle)
    else:
        chosen = {name: load_pseudo_masks(context.cycle(1).pseudo(), name) for name in context.images}
    learns = context.follows_another(cycle)
    if learns:
        make_missing(context, cycle - 1)
    for name, pseudo in chosen.items():
        if learns and name in context.train.ids:
            pseudo = join(context, pseudo, context.last_round(cycle - 1).detections, name)
        save_pseudo_masks(folder, name, pseudo)


def _choose(context: Context, cycle: int) -> dict[str, PseudoMasks]:
    """Return the best candidates of every image as pseudo masks."""
    config, background = context.config, context.background

    def candidates_of(name: str) -> Candidates:
        activation = maps.read(context, cycle, name) if recipe_of(config).reads_activation else None
        return find_candidates(context.images[name], activation, config, background.get(name))

    names = list(context.images)
    with ThreadPoolExecutor(THREADS) as pool:
        found = context.progress.track(pool.map(candidates_of, names), f"cycle_{cycle}/pseudo", len(names))
        candidates = dict(zip(names, found, strict=True))
    cut = run_cut(config, [candidates[name].scores.confidence for name in context.train.ids])
    if cut is not None:
        write_json(context.cycle(cycle).cut, {"min_confidence": cut})
    chosen = {}
    for name in context.images:
        pseudo = select_pseudo_masks(candidates.pop(name), config, cut)
        chosen[name] = clear_background(pseudo, background[name]) if name in background else pseudo
    return chosen


def take_instance_labels(context: Context, cycle: int) -> None:
    """Make the instance labels of the training images the pseudo masks: the fully supervised upper bound."""
    context.run.log("instance_labels", cycle=cycle, images=context.train.ids)
    for name in context.train.ids:
        labels, _, _ = relabel_sequential(context.train.label_map(name))
        labels = labels.astype(np.int32)
        pseudo = PseudoMasks(labels, np.ones(labels.max(initial=0), np.float32), np.zeros(labels.shape, bool))
        save_pseudo_masks(context.cycle(cycle).pseudo(), name, pseudo)
