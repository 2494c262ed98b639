"""`cyclic report`: one self-contained HTML page on a run, finished or not.

The page loads nothing: pictures are data URIs, outlines and curves inline SVG, style and script inline too.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from cyclic.config import RunConfig
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.layouts import folders, open_splits
from cyclic.draw.colours import ERROR_COLORS, OUTLINE_COLORS
from cyclic.errors import InputError
from cyclic.evaluation.empty_tissue import FALSE_PER_MM2
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.evaluation.table import HEADINGS
from cyclic.files import atomic_path, check_outputs, claim, read_json, same_place
from cyclic.report.curves import MAIN_METRICS, loss_charts, map_chart, precision_chart, rows_of, score_charts
from cyclic.report.doubts import find_doubts
from cyclic.report.layers import Layer, image_layers, network_name, picture_uri, read_fitting_labels
from cyclic.runs.directory import RunDirectory, data_folders, read_events, read_run_config
from cyclic.runs.paths import RunPaths
from cyclic.runs.state import State, damage, name_faults, read_metrics, read_state

# This many of the best val images and as many of the worst are compared.
RANKED = 10
# More images would make the page too heavy to open; those left out are counted on the page.
MAX_VAL, MAX_TRAIN = 40, 20
# Columns of the results table that `_source_name` and the template write themselves.
ROW_HEAD = ("source", "cycle", "round")
SOURCES = {
    "no_label_baseline": "No-label baseline",
    "map": "Activation map",
    "pseudo_masks": "Pseudo masks",
    "model": "Mask R-CNN",
    "held_out_tiles": "Held-out tiles",
    "map_stability": "Map against that of the cycle before",
    "agreement": "Nuclei against those of the round before",
    "sizes": "Outlines against the first pseudo masks",
}
# Sources of rows that compare a run with itself for want of labels; those of "sizes" are in every run.
SELF = ("held_out_tiles", "map_stability", "agreement")
# Sources whose rows name the round, teacher or student.
BY_ROUND = ("model", "agreement", "sizes")

STAGES = {
    "tiles": "tiles",
    "baseline": "no-label baseline",
    "classifier": "classifier training",
    "maps": "activation maps",
    "map_scores": "activation maps, scoring",
    "pseudo": "pseudo masks",
    "pseudo_scores": "pseudo masks, scoring",
    "train": "training",
    "detect": "detection",
    "scores": "scoring",
    "agreement": "comparison without labels",
    "finish": "weights and overlays",
}


@dataclass
class Figure:
    """One image with its slider; `scores` are of the last round that predicted every val image."""

    anchor: str
    name: str
    width: int
    height: int
    picture: str
    layers: list[Layer]
    scores: dict | None

    @property
    def start(self) -> int:
        """The layer shown first: the last prediction, or else what was made last, never the ground truth."""
        names = [layer.name for layer in self.layers]
        predictions = [index for index, name in enumerate(names) if name.endswith("prediction")]
        made = [index for index, name in enumerate(names) if name.startswith("Cycle")]
        return (predictions or made or [0])[-1]

    @property
    def errors(self) -> int | None:
        """The layer that shows the errors."""
        return next((index for index, layer in enumerate(self.layers) if layer.legend == "errors"), None)


def write_report(
    run: str | Path,
    data: str | Path | Sequence[str | Path] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the report on a run and return its path.

    Args:
        run: the run directory. What an unfinished run has not made yet is left out.
        data: folder of the run's data set, or those of several; None: where the run read them. Instance labels are
            read of val images only, and only if the run itself scores them. "test" is never read.
        out: the HTML file; None: `report.html` in the run directory.
        overwrite: whether `out` may replace a file that this program did not write.

    Raises:
        InputError: `run` holds no run, one of its files is broken, or `data` is not the data set of this run.
    """
    if not RunDirectory.holds_run(run):
        raise InputError(f"{run}: no run here; give the folder that cyclic train wrote to (--out)")
    paths = RunPaths(Path(run))
    if out is not None:
        check_outputs([Path(out)], overwrite=overwrite)
    config = read_run_config(paths.root)
    given = data_folders(paths.root) if data is None else folders(data)
    train, val = open_splits(given)
    _require_same_images(paths, [*train.ids, *(val.ids if val else [])], ", ".join(map(str, given)))
    truths = _read_truths(config, val)
    state = _require_whole(paths)
    metrics = {"rows": [], "wall_s": {}, **(read_json(paths.metrics) if paths.metrics.is_file() else {})}
    scores = score_images(paths, truths)
    ranking = sorted(scores, key=lambda name: -scores[name]["aji"])
    figures = {"val": [], "train": [_make_figure(paths, train, name, None, None) for name in train.ids[:MAX_TRAIN]]}
    if val:
        shown = val.ids
        if len(shown) > MAX_VAL and ranking:
            shown = ranking[: MAX_VAL // 2] + ranking[-MAX_VAL // 2 :]
        for name in shown[:MAX_VAL]:
            figures["val"].append(_make_figure(paths, val, name, truths.get(name), scores.get(name)))
    by_name = {figure.name: figure for figure in figures["val"]}
    events = read_events(paths.log)
    rows = metrics["rows"]
    doubts, doubted = find_doubts(paths, config)
    page = _load_template().render(
        run=same_place(paths.root).name,
        config=config,
        status=_status(state, events),
        headline=_headline(rows),
        rows=rows,
        columns=[name for name in HEADINGS if name not in ROW_HEAD and any(name in row for row in rows)],
        headings=HEADINGS,
        unlabelled=any(row["source"] in SELF for row in rows),
        best=_best_scores(rows),
        source=_source_name,
        score_charts=score_charts(rows),
        loss_charts=loss_charts(events),
        classifiers={event["cycle"]: event for event in events if event["event"] == "classifier"},
        doubts=doubts,
        doubted=doubted,
        map_chart=map_chart(rows),
        precision_chart=precision_chart(paths, truths),
        figures=figures,
        total={"val": len(val.ids) if val else 0, "train": len(train.ids)},
        best_images=[by_name[name] for name in ranking[:RANKED]],
        worst_images=[by_name[name] for name in ranking[RANKED:][-RANKED:]],
        stages=[(_stage_name(key), seconds) for key, seconds in metrics["wall_s"].items()],
        seconds=sum(metrics["wall_s"].values()),
        settings=_settings(config),
        outline_colors=OUTLINE_COLORS.tolist(),
        error_colors=ERROR_COLORS,
    )
    page_path = paths.report if out is None else Path(out)
    with atomic_path(page_path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if out is not None:
        claim(page_path)
    return page_path


def score_images(run: RunPaths, truths: dict[str, np.ndarray]) -> dict[str, dict]:
    """Score the predictions of the last round that predicted every image.

    Args:
        run: paths of the run.
        truths: the true label map of each image, by image id.

    Returns:
        `{image id: metrics}`; empty if there is no such round.
    """
    rounds = [run.cycle(cycle).round(r) for cycle in run.cycles() for r in run.cycle(cycle).rounds()]
    for round_ in reversed(rounds):
        files = {name: round_.prediction(name) for name in truths}
        if files and all(path.is_file() for path in files.values()):
            return {n: evaluate_pair(true, read_fitting_labels(files[n], true)) for n, true in truths.items()}
    return {}


def _require_same_images(run: RunPaths, names: list[str], data: str | Path) -> None:
    for cycle in run.cycles():
        for path in sorted(run.cycle(cycle).map("").parent.glob("*.png")):
            if path.stem not in names:
                raise InputError(f"{data}: no image {path.stem} in train or val, but {path}; give this run's data set")


def _read_truths(config: RunConfig, val: NucleiDataset | None) -> dict[str, np.ndarray]:
    """Return the ground truth of the val images if the run scores them; else nothing."""
    return {name: val.label_map(name) for name in val.ids if val.has_labels(name)} if val else {}


def _make_figure(
    run: RunPaths, dataset: NucleiDataset, name: str, true: np.ndarray | None, scores: dict | None
) -> Figure:
    image = dataset.image(name)
    height, width = image.shape[:2]
    # Ids may hold any character; an anchor must not.
    anchor = "image-" + "".join(c if c.isalnum() else "-" for c in name)
    return Figure(anchor, name, width, height, picture_uri(image), image_layers(run, name, image, true), scores)


def _require_whole(paths: RunPaths) -> State:
    """Return the state of a run from which nothing is missing that its stages left, but perhaps weights.

    Raises:
        InputError: a file of a finished stage is missing or changed.
    """
    state, cure = read_state(paths), "cyclic train --resume makes it again"
    rows = read_metrics(paths)
    if state.finished and (rows is None or state.lacks(rows)):
        raise InputError(f"{paths.metrics}: missing, or lacks scores of finished stages; {cure}")
    faults = {path: fault for of_stage in damage(paths.root, state).values() for path, fault in of_stage.items()}
    shown = {path: fault for path, fault in faults.items() if path.suffix != ".h5"}
    if shown:
        raise InputError(f"{name_faults(shown)}; {cure}")
    if faults:  # the page shows no weights, and who needs the space may have removed them
        warnings.warn(f"{name_faults(faults)}; {cure}", stacklevel=3)
    return state


def _status(state: State, events: list[dict]) -> dict:
    finished = state.finished
    started = [event["stage"] for event in events if event["event"] == "stage_start"]
    current = started[-1] if started and started[-1] not in finished else None
    return {
        "finished": "finish" in finished,
        "current": _stage_name(current) if current else "",
        "time": events[-1]["time"][:16].replace("T", " ") if events else "",
    }


def _stage_name(key: str) -> str:
    """Return a stage key in words: "cycle_1/round_0/train" -> "Cycle 1, teacher: training"."""
    *parents, last = key.split("/")
    numbers = [int(parent.rpartition("_")[2]) for parent in parents]
    words = [f"Cycle {numbers[0]}", *map(network_name, numbers[1:])] if numbers else []
    name = STAGES.get(last, last)
    return f"{', '.join(words)}: {name}" if words else name.capitalize()


def _source_name(row: dict) -> str:
    name = SOURCES.get(row["source"], row["source"])
    return f"{name}, {network_name(row['round'])}" if row["source"] in BY_ROUND else name


def _headline(rows: list[dict]) -> list[dict]:
    """Return name and value of the last Mask R-CNN's main metrics, and their gain over the baseline."""
    models, baseline = rows_of(rows, "model"), rows_of(rows, "no_label_baseline")
    return [
        {"name": HEADINGS[m], "value": models[-1][m], "gain": models[-1][m] - baseline[0][m] if baseline else None}
        for m in MAIN_METRICS
        if models
    ]


def _best_scores(rows: list[dict]) -> dict[str, float]:
    models = rows_of(rows, "model")
    best = {}
    for metric in HEADINGS:
        values = [row[metric] for row in models if row.get(metric) is not None]
        if values:
            best[metric] = min(values) if metric == FALSE_PER_MM2 else max(values)
    return best


def _settings(config: RunConfig) -> dict[str, list[tuple[str, str, bool]]]:
    """Return `{section: [(key, value, whether it differs from the default)]}`; keys outside sections are in "run"."""
    sections: dict[str, list[tuple[str, str, bool]]] = {"run": []}
    defaults = RunConfig().model_dump(mode="json")
    for key, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            sections[key] = [(name, _as_text(item), item != defaults[key][name]) for name, item in value.items()]
        else:
            sections["run"].append((key, _as_text(value), value != defaults[key]))
    return sections


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)


def _load_template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = _format_duration
    return environment.get_template("report.html")


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"
