"""`inspect_pseudo_masks.ipynb`: maps, thresholds, which components are kept and why, and how many are right."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from skimage import measure

from cyclic.activation.maps import METHODS, activation_map
from cyclic.datasets.answers import NO
from cyclic.datasets.doubted_answers import read_doubted
from cyclic.datasets.tile_folder import negative_areas
from cyclic.draw.overlays import contour_overlay, pseudo_overlay
from cyclic.evaluation.ranking import precision_by_rank
from cyclic.images import read_map
from cyclic.inspect.drawing import crop_middle, draw_errors, show_pictures
from cyclic.inspect.run import Run
from cyclic.label_maps import read_label_map
from cyclic.networks import Models
from cyclic.pseudo.candidates import Candidates, find_candidates
from cyclic.pseudo.recipe import RECIPES, recipe_of
from cyclic.pseudo.score import POWERS, ComponentScores
from cyclic.pseudo.select import select_pseudo_masks
from cyclic.pseudo.threshold import threshold_map
from cyclic.stain import hematoxylin_map

# What the notebook prints of a run without a classifier, by its `supervision`.
SKIPPED = {
    "none": "supervision none: there is no classifier. Its maps are skipped; the hematoxylin stain is shown instead.",
    "instance": "supervision instance: there are neither classifier nor pseudo masks. Maps and precision are skipped; "
    "the hematoxylin stain is shown instead.",
}


def maps_of_methods(run: Run, cycle: int, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the map of each method, `[H, W]` float32 in [0, 1], by the classifier of a cycle.

    For a run without a classifier, return the hematoxylin map only, and print what is skipped.

    Args:
        run: the run.
        cycle: whose classifier to use.
        image: `[H, W, 3]` uint8, better a crop than a whole image: LRP takes seconds for each tile.
    """
    stain = hematoxylin_map(image)
    if not run.has_classifier:
        print(SKIPPED[run.config.supervision])
        return {"hematoxylin": stain}
    models, config = Models(run.config), run.config
    models.load(run.paths.cycle(cycle).classifier)
    maps = {
        method: activation_map(
            models.classifier,
            image,
            config.mean_pixel,
            method,
            config.maps.level,
            scale=config.scale,
            context=config.tiles.size,
        )
        for method in METHODS
        if method != "evidence" or config.classifier.hidden is None
    }
    return maps | {"hematoxylin": stain}


def show_maps(image: np.ndarray, maps: dict[str, np.ndarray]) -> plt.Figure:
    """Show the maps side by side, all on the same scale from 0 to 1."""
    return show_pictures([("image", image), *maps.items()], columns=4)


def run_map(run: Run, cycle: int, name: str) -> np.ndarray:
    """Return the activation map that the run wrote of an image, `[H, W]` float32 in [0, 1]."""
    return read_map(run.paths.cycle(cycle).map(name))


def show_thresholds(image: np.ndarray, values: np.ndarray) -> plt.Figure:
    """Show what the threshold of each recipe takes as nuclei in a map (`[H, W]` in [0, 1])."""
    pictures = [("map", values)]
    for name, recipe in RECIPES.items():
        mask = threshold_map(values, recipe.threshold)
        lowest = f" > {values[mask].min():.2f}" if mask.any() else ""
        pictures.append((f"{name}{lowest}: {mask.mean():.0%}", _outline_mask(image, mask)))
    return show_pictures(pictures, columns=3, width=12)


def show_levels(image: np.ndarray, candidates: Candidates, run: Run) -> plt.Figure:
    """Show the nested masks whose components compete: the run's threshold times each of its factors."""
    pictures = []
    for factor in run.config.pseudo.factors:
        mask = threshold_map(candidates.source, recipe_of(run.config).threshold, factor)
        pictures.append((f"{factor:g} x threshold", _outline_mask(crop_middle(image), crop_middle(mask))))
    return show_pictures(pictures)


def _outline_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return contour_overlay(image, measure.label(mask), 1)  # one pixel wide: these pictures are small


def find_run_candidates(run: Run, cycle: int, name: str) -> Candidates:
    """Return the candidates of an image in a cycle, by the run's settings; without a classifier those of the stain."""
    image, config = run.images.image(name), run.config
    if not run.has_classifier:
        config = config.model_copy(update={"pseudo": config.pseudo.model_copy(update={"recipe": "stain"})})
    activation = run_map(run, cycle, name) if recipe_of(config).reads_activation else None
    return find_candidates(image, activation, config, _negative_area(run, name, image.shape[:2]))


def _negative_area(run: Run, name: str, shape: tuple[int, int]) -> np.ndarray | None:
    """Return where negative tiles lie, `[H, W]` bool; None if the run keeps candidates there."""
    if not run.config.trusts_negative_tiles or name not in run.train.ids:
        return None
    folder, doubted = run.config.tiles.folder or run.paths.tiles, read_doubted(run.paths.doubted)[NO]
    return negative_areas(folder, {name: shape}, doubted)[name]


def candidate_rows(run: Run, candidates: Candidates, around: int = 8) -> list[dict]:
    """Return rows of the best candidates, of those around the last that is kept, and of the worst.

    `weakest` is the factor that costs a candidate most confidence.

    Args:
        run: the run.
        candidates: what `find_run_candidates` returned.
        around: how many rows of each.
    """
    scores = candidates.scores
    ranked = scores.take(np.argsort(-getattr(scores, recipe_of(run.config).rank_by), kind="stable"))
    kept, total = len(select_pseudo_masks(candidates, run.config, run.cut).confidence), len(ranked)
    wanted = [*range(around), *range(kept - around // 2, kept + around // 2), *range(total - around // 2, total)]
    rows = []
    for index in sorted({rank for rank in wanted if 0 <= rank < total}):
        rows.append(
            {
                "rank": index + 1,
                "kept": "yes" if index < kept else "no",
                "confidence": float(ranked.confidence[index]),
                "weakest": weakest_factor(ranked, index),
                "area": int(ranked.area[index]),
                **{name: float(getattr(ranked, name)[index]) for name in POWERS},
            }
        )
    return rows


def weakest_factor(scores: ComponentScores, index: int) -> str:
    """Return the factor that costs a component most confidence."""
    values = {name: getattr(scores, name)[index] ** power for name, power in POWERS.items()}
    return min(values, key=values.__getitem__)


def show_selection(run: Run, name: str, candidates: Candidates) -> plt.Figure:
    """Show all candidates and those that become pseudo masks, in the middle of an image.

    Under the white veil no loss is computed.
    """
    image = run.images.image(name)
    kept = select_pseudo_masks(candidates, run.config, run.cut)
    title = f"{len(kept.confidence)} kept; {kept.ignore.mean():.0%} ignored"
    labels = crop_middle(candidates.labels)
    pictures = [
        ("map", crop_middle(candidates.source)),
        (f"{len(candidates.scores)} candidates", contour_overlay(crop_middle(image), labels)),
        (title, pseudo_overlay(crop_middle(image), crop_middle(kept.labels), crop_middle(kept.ignore))),
    ]
    return show_pictures(pictures, columns=3, width=16)


def show_ranking(run: Run, name: str, candidates: Candidates, shown: int = 10) -> plt.Figure:
    """Show the best and the worst candidates, each with its confidence and its weakest factor."""
    image, scores, half = run.images.image(name), candidates.scores, 24
    order = np.argsort(-scores.confidence, kind="stable")
    outlined = contour_overlay(image, candidates.labels, 1)
    padded = np.pad(outlined, ((half, half), (half, half), (0, 0)), constant_values=255)
    pictures = []
    for index in [*order[:shown], *order[shown:][-shown:]]:
        y, x = np.argwhere(candidates.labels == scores.ids[index]).mean(axis=0).round().astype(int)
        title = f"{scores.confidence[index]:.2f} {weakest_factor(scores, index)}"
        pictures.append((title, padded[y : y + 2 * half, x : x + 2 * half]))
    return show_pictures(pictures, columns=shown, width=16)


def show_precision(run: Run, names: Sequence[str]) -> plt.Figure | None:
    """Draw the share of the best k pseudo masks that matches a nucleus, a line for each cycle.

    Without ground truth or pseudo masks, print so and return None.
    """
    truths = {name: true for name in names if (true := run.truth(name)) is not None}
    if not truths:
        print("No labelled val images: nothing to compare with.")
        return None
    files = {cycle: [_pseudo_file(run, cycle, name) for name in truths] for cycle in run.cycles}
    complete = {cycle: paths for cycle, paths in files.items() if all(path.is_file() for path in paths)}
    if not complete:
        print("No pseudo masks of these images: nothing to compare.")
        return None
    figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    for cycle, paths in complete.items():
        precision = precision_by_rank(list(truths.values()), [read_label_map(path) for path in paths])
        ax.plot(np.arange(1, len(precision) + 1), precision, label=f"cycle {cycle}")
    ax.set(xlabel="best k of each image", ylabel="share that matches a nucleus", ylim=(0, 1.02))
    ax.legend()
    return figure


def show_errors(run: Run, cycle: int, name: str) -> plt.Figure | None:
    """Show the pseudo masks of a cycle against the ground truth; without one of them, print so and return None."""
    true, path = run.truth(name), _pseudo_file(run, cycle, name)
    if true is None or not path.is_file():
        print(f"{name}, cycle {cycle}: no {'ground truth' if true is None else 'pseudo masks'} to compare with.")
        return None
    image = run.images.image(name)
    nuclei = contour_overlay(crop_middle(image), crop_middle(true))
    errors = draw_errors(image, true, read_label_map(path))
    return show_pictures([("ground truth, the middle", nuclei), (f"cycle {cycle}, the whole image", errors)])


def _pseudo_file(run: Run, cycle: int, name: str) -> Path:
    return run.paths.cycle(cycle).pseudo() / "labels" / f"{name}.tif"
