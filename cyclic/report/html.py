"""`cyclic report`: one self-contained HTML page on a run, finished or not.

The page loads nothing: pictures are data URIs, outlines and curves inline SVG, style and script inline too.
"""

from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from cyclic.config import RunConfig, load_config
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.layouts import open_splits
from cyclic.draw.overlays import ERROR_COLORS, OUTLINE_COLORS
from cyclic.errors import InputError
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.evaluation.table import HEADINGS
from cyclic.files import atomic_path, read_json, read_label_map
from cyclic.report.curves import MAIN_METRICS, loss_charts, precision_chart, rows_of, score_charts
from cyclic.report.layers import Layer, fitting, image_layers, network_name, numbered, picture, prediction_file
from cyclic.runs.directory import CONFIG, LOG, METRICS, STATE, RunDirectory, data_folder, read_events

# So many of the best and as many of the worst val images are compared.
RANKED = 10
# More images would make the page too heavy to open; those left out are counted on the page.
MAX_VAL, MAX_TRAIN = 40, 20
# Columns of the results table that `_source` and the template write themselves.
ROW_HEAD = ("source", "cycle", "round")
SOURCES = {"no_label_baseline": "No-label baseline", "pseudo_masks": "Pseudo masks", "model": "Model"}
STAGES = {
    "tiles": "tiles",
    "baseline": "no-label baseline",
    "classifier": "classifier training",
    "maps": "activation maps",
    "pseudo": "pseudo masks",
    "pseudo_scores": "pseudo masks, scoring",
    "train": "training",
    "detect": "detection",
    "scores": "scoring",
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
        """The layer shown first: the last prediction, or else what came before it, never the ground truth."""
        names = [layer.name for layer in self.layers]
        found = [index for index, name in enumerate(names) if name.endswith("prediction")]
        made = [index for index, name in enumerate(names) if name.startswith("Cycle")]
        return (found or made or [0])[-1]

    @property
    def errors(self) -> int | None:
        """The layer that shows the errors."""
        return next((index for index, layer in enumerate(self.layers) if layer.legend == "errors"), None)


def write_report(run: str | Path, data: str | Path | None = None, out: str | Path | None = None) -> Path:
    """Write the report on a run and return its path.

    Args:
        run: the run directory; what an unfinished run has not made yet is left out.
        data: folder of the run's data set; None: where the run read it. Instance labels are read of val images alone,
            and only if the run itself scores them; "test" is never read.
        out: the HTML file; None: `report.html` in the run directory.

    Raises:
        InputError: `run` holds no run, one of its files is broken, or `data` is not the data set of this run.
    """
    run = Path(run)
    if not RunDirectory.holds_run(run):
        raise InputError(f"{run}: no run here; give the folder that cyclic train wrote to (--out)")
    config = load_config(run / CONFIG)
    data = data_folder(run) if data is None else Path(data)
    train, val = open_splits(data)
    _require_same_images(run, [*train.ids, *(val.ids if val else [])], data)
    truths = _truths(config, val)
    metrics = read_json(run / METRICS) if (run / METRICS).is_file() else {"rows": [], "wall_s": {}}
    scores = image_scores(run, truths)
    ranking = sorted(scores, key=lambda name: -scores[name]["aji"])
    val_ids = val.ids if val else []
    if len(val_ids) > MAX_VAL and ranking:
        val_ids = ranking[: MAX_VAL // 2] + ranking[-MAX_VAL // 2 :]
    figures = {
        "val": [_figure(run, val, name, truths.get(name), scores.get(name)) for name in val_ids[:MAX_VAL]],
        "train": [_figure(run, train, name, None, None) for name in train.ids[:MAX_TRAIN]],
    }
    by_name = {figure.name: figure for figure in figures["val"]}
    events = read_events(run / LOG)
    rows = metrics["rows"]
    page = _template().render(
        run=run.resolve().name,
        config=config,
        status=_status(run, events),
        headline=_headline(rows),
        rows=rows,
        columns=[name for name in HEADINGS if name not in ROW_HEAD and any(name in row for row in rows)],
        headings=HEADINGS,
        best=_best(rows),
        source=_source,
        score_charts=score_charts(rows),
        loss_charts=loss_charts(events),
        classifiers={event["cycle"]: event for event in events if event["event"] == "classifier"},
        precision_chart=precision_chart(run, truths),
        figures=figures,
        total={"val": len(val.ids) if val else 0, "train": len(train.ids)},
        best_images=[by_name[name] for name in ranking[:RANKED]],
        worst_images=[by_name[name] for name in ranking[RANKED:][-RANKED:]],
        stages=[(_stage(key), seconds) for key, seconds in metrics["wall_s"].items()],
        seconds=sum(metrics["wall_s"].values()),
        settings=_settings(config),
        outline_colors=OUTLINE_COLORS.tolist(),
        error_colors=ERROR_COLORS,
    )
    out = run / "report.html" if out is None else Path(out)
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def image_scores(run: Path, truths: dict[str, np.ndarray]) -> dict[str, dict]:
    """Return `{image id: metrics}` of the last round whose predictions cover all of `truths`; {} if there is none."""
    rounds = [(cycle, r) for cycle in numbered(run, "cycle") for r in numbered(run / f"cycle_{cycle}", "round")]
    for cycle, round_ in reversed(rounds):
        files = {name: prediction_file(run, cycle, round_, name) for name in truths}
        if files and all(path.is_file() for path in files.values()):
            found = {name: fitting(path, read_label_map(path), truths[name]) for name, path in files.items()}
            return {name: evaluate_pair(truths[name], labels) for name, labels in found.items()}
    return {}


def _require_same_images(run: Path, names: list[str], data: str | Path) -> None:
    for path in sorted(run.glob("cycle_*/maps/*.png")):
        if path.stem not in names:
            raise InputError(f"{data}: no image {path.stem} in train or val, but {path}; give this run's data set")


def _truths(config: RunConfig, val: NucleiDataset | None) -> dict[str, np.ndarray]:
    """Return the ground truth of the val images, under the same condition as the run scores them."""
    if val is None or not config.evaluate or not all(map(val.has_labels, val.ids)):
        return {}
    return {name: val.label_map(name) for name in val.ids}


def _figure(run: Path, dataset: NucleiDataset, name: str, true: np.ndarray | None, scores: dict | None) -> Figure:
    image = dataset.image(name)
    height, width = image.shape[:2]
    # Ids may hold any character; an anchor must not.
    anchor = "image-" + "".join(c if c.isalnum() else "-" for c in name)
    return Figure(anchor, name, width, height, picture(image), image_layers(run, name, image, true), scores)


def _status(run: Path, events: list[dict]) -> dict:
    finished = read_json(run / STATE).get("finished", []) if (run / STATE).is_file() else []
    started = [event["stage"] for event in events if event["event"] == "stage_start"]
    current = started[-1] if started and started[-1] not in finished else None
    return {
        "finished": "finish" in finished,
        "current": _stage(current) if current else "",
        "time": events[-1]["time"][:16].replace("T", " ") if events else "",
    }


def _stage(key: str) -> str:
    """Return a stage key in words: "cycle_1/round_0/train" -> "Cycle 1, teacher: training"."""
    *folders, last = key.split("/")
    places = [f"Cycle {folders[0].removeprefix('cycle_')}"] if folders else []
    places += [network_name(int(folder.removeprefix("round_"))) for folder in folders[1:]]
    name = STAGES.get(last, last)
    return f"{', '.join(places)}: {name}" if places else name.capitalize()


def _source(row: dict) -> str:
    name = SOURCES.get(row["source"], row["source"])
    return f"{name}, {network_name(row['round'])}" if row["source"] == "model" else name


def _headline(rows: list[dict]) -> list[dict]:
    """Return name, value and gain over the baseline of the last model's main metrics."""
    models, baseline = rows_of(rows, "model"), rows_of(rows, "no_label_baseline")
    return [
        {"name": HEADINGS[m], "value": models[-1][m], "gain": models[-1][m] - baseline[0][m] if baseline else None}
        for m in MAIN_METRICS
        if models
    ]


def _best(rows: list[dict]) -> dict[str, float]:
    models = rows_of(rows, "model")
    return {metric: max(row[metric] for row in models) for metric in HEADINGS if models and metric in models[0]}


def _settings(config: RunConfig) -> dict[str, list[tuple[str, str, bool]]]:
    """Return `{section: [(key, value, whether it differs from the default)]}`, keys outside sections under "run"."""
    sections: dict[str, list[tuple[str, str, bool]]] = {"run": []}
    defaults = RunConfig().model_dump(mode="json")
    for key, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            sections[key] = [(name, _text(each), each != defaults[key][name]) for name, each in value.items()]
        else:
            sections["run"].append((key, _text(value), value != defaults[key]))
    return sections


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    blocks = {"trim_blocks": True, "lstrip_blocks": True}
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, **blocks)
    environment.filters["duration"] = _duration
    return environment.get_template("report.html")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"
