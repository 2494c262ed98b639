"""The tiles that a run wants answered once more, since other answers contradict theirs."""

from pathlib import Path

from cyclic.datasets.answers import first_outside
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.doubted_answers import read_doubted
from cyclic.datasets.joined import joined_id, name_sets
from cyclic.datasets.tile_folder import parse_tile_name
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.files import same_place
from cyclic.runs.directory import RunDirectory, data_folders, read_events, read_run_config
from cyclic.runs.paths import RunPaths


def tiles_to_ask_again(run: Path, dataset: NucleiDataset) -> tuple[list[Tile], int, str]:
    """Return the doubted tiles of these images, their side in pixels, and when the run doubted them, ISO 8601.

    Args:
        run: folder of the run. If it has several data sets, `dataset` may be one of them.
        dataset: the images.

    Raises:
        InputError: there is no run, or it doubts no answer for these images.
    """
    if not RunDirectory.holds_run(run):
        raise InputError(f"{run}: no run here; give the folder that cyclic train wrote to")
    paths, size, own = RunPaths(run), read_run_config(run).tiles.size, _names_in_run(run, dataset)
    names = sorted(set().union(*read_doubted(paths.doubted).values()))
    places = [(own[parsed[0]], *parsed[1:]) for parsed in map(parse_tile_name, names) if parsed and parsed[0] in own]
    tiles = [Tile(*place) for place in places]
    outside = first_outside([(tile, size) for tile in tiles], dataset)
    if outside is not None:
        path = dataset.image_path(outside.image_id)
        raise InputError(f"{path}: the tile at y={outside.y}, x={outside.x} lies outside; give the run's own images")
    times = [event["time"] for event in read_events(paths.log) if event["event"] == "doubted_answers"]
    if not (tiles and times):
        raise InputError(f"{paths.doubted}: no doubted answer for a tile of these images; leave out --again")
    return tiles, size, times[-1]


def _names_in_run(run: Path, dataset: NucleiDataset) -> dict[str, str]:
    """Return `{id in the run: id in dataset}`: among several data sets an image has its set's name before its own."""
    sets = [] if dataset.set_names else data_folders(run)
    for folder, name in zip(sets, name_sets(sets), strict=True):
        if len(sets) > 1 and same_place(folder) == same_place(dataset.root):
            return {joined_id(name, image_id): image_id for image_id in dataset.ids}
    return {name: name for name in dataset.ids}
