"""From a folder of images and a file of answers to the tiles that the page asks."""

from collections.abc import Sequence
from pathlib import Path

from cyclic.datasets.answers import require_inside
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tile_grid import grid_tiles
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.label.again import tiles_to_ask_again
from cyclic.label.answer_file import AnswerFile
from cyclic.label.order import least_sure_first, mean_hematoxylin, overlapping_last, spread
from cyclic.label.server import Session
from cyclic.runs.progress import Progress
from cyclic.slides.finding import holds_slides
from cyclic.slides.regions import COUNT, cut_regions

# A model is asked for this many tiles at most.
MOST_ASKED = 2000


def open_session(
    images: str | Path | Sequence[str | Path],
    out: str | Path,
    who: str,
    size: int,
    stride: int,
    seed: int = 0,
    weights: Path | None = None,
    again: Path | None = None,
) -> Session:
    """Return the session of a person: which tiles are asked, in which order, and where the answers go.

    Args:
        images: folder of the images; of a data set with splits, those to train on. Or folders of several.
        out: file of answers, which is gone on with where there is one.
        who: name of the person.
        size, stride: side of a tile and distance from tile to tile, px.
        seed: seed of the order.
        weights: `best.weights.h5`, whose classifier decides: tiles that it is least sure of come first. None: a random
            order, spread over images and staining.
        again: folder of a run; the tiles whose answers it doubts are asked once more, and no others. Their size counts.

    Raises:
        InputError: no images, an image smaller than a tile, weights without a classifier, or see `tiles_to_ask_again`,
            `AnswerFile` and `require_inside`.
    """
    dataset, _ = open_splits(images)
    if again is None:
        tiles, since = list(grid_tiles(dataset, size, stride)), ""
    else:
        tiles, size, since = tiles_to_ask_again(again, dataset)
    answers = AnswerFile(out, who, size)
    try:
        require_inside(answers.path, answers.answers, dataset)
        order = _in_order(dataset, tiles, size, seed, weights) if again is None else tiles
        return Session(dataset, order, answers, since)
    except BaseException:
        answers.close()
        raise


def _in_order(dataset: NucleiDataset, tiles: Sequence[Tile], size: int, seed: int, weights: Path | None) -> list[Tile]:
    """Return the tiles in the order in which they are asked; see `open_session`."""
    staining = []
    with Progress() as progress:
        for name in progress.track(dataset.ids, "order the tiles of images"):
            of_image = [tile for tile in tiles if tile.image_id == name]
            staining += mean_hematoxylin(dataset.image(name), of_image, size).tolist()
    order = spread(tiles, staining, seed)
    if weights is not None:
        from cyclic.label.unsure import probabilities  # starts Keras, which takes seconds

        asked = overlapping_last(order, dataset, size)[:MOST_ASKED]
        order = least_sure_first(asked, probabilities(weights, dataset, asked, size))
    return overlapping_last(order, dataset, size)


def images_of(
    given: Sequence[Path], out: Path, count: int | None = None, stated: float | None = None, seed: int = 0
) -> list[Path]:
    """Return folders of images to answer tiles of; of slides, that of their regions, which is made beside the answers.

    Args:
        given: folders of images; or one slide, or one folder of slides.
        out: file of the answers.
        count, stated, seed: of slides, see `cut_regions`; None: the default.

    Raises:
        InputError: slides beside another folder, options of slides without any, or see `cut_regions`.
    """
    slides = [path for path in given if holds_slides(path)]
    if not slides:
        if count is not None or stated is not None:
            raise InputError(f"{given[0]}: no slides, and --regions and --mpp are for slides; leave them out")
        return list(given)
    if len(given) > 1:
        raise InputError(f"{slides[0]}: slides; give one slide, or one folder of slides, at a time")
    folder = out.with_name(f"{out.stem}_regions")
    cut_regions(slides[0], folder, COUNT if count is None else count, stated, seed)
    return [folder]
