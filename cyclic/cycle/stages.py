"""The stages of a cycle; each reads files of the stages before it and writes its own, so a run can go on anywhere."""

import functools
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from skimage.segmentation import relabel_sequential

from cyclic.activation.maps import activation_map
from cyclic.classifier.training import train_classifier
from cyclic.config import RunConfig
from cyclic.datasets.augment import stain_jitter
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.tiles import TileSequence, cut_tiles, load_tiles, negative_areas, split_tiles
from cyclic.draw.colours import map_colors
from cyclic.draw.overlays import contour_overlay, pseudo_overlay
from cyclic.errors import InputError
from cyclic.files import read_json, read_label_map, read_map, write_image, write_json, write_label_map
from cyclic.inference.detect import confident, detection_options, predict_image
from cyclic.networks import Models
from cyclic.pseudo.background import clear_background, ignore_rest, trust_background
from cyclic.pseudo.candidates import drop_unseen, pooled, scored_components, select_components
from cyclic.pseudo.fill import fill_centres
from cyclic.pseudo.score import score_components
from cyclic.pseudo.select import PseudoMasks, load_pseudo_masks, save_pseudo_masks
from cyclic.runs.board import Board
from cyclic.runs.directory import RunDirectory
from cyclic.runs.progress import Progress
from cyclic.semi.dataset import CropAugmentation, PseudoDataset
from cyclic.semi.self_training import extend_pseudo_masks
from cyclic.stain import hematoxylin_map

# The file beside a cycle's pseudo masks that holds the confidence that a pooled share came to.
CUT = "cut.json"


@dataclass
class Context:
    """What every stage works with.

    Attributes:
        config: settings of the run.
        data: folder of the data set.
        run: the run directory.
        progress: where to show how far a stage is.
        train, val: images of the two splits; instance labels are read by `cut_run_tiles` and by evaluation alone, and
            by `take_instance_labels`, the upper bound, which no configuration asks for.
        board: TensorBoard's view of the run.
    """

    config: RunConfig
    data: Path
    run: RunDirectory
    progress: Progress
    train: NucleiDataset
    val: NucleiDataset | None
    board: Board

    @functools.cached_property
    def models(self) -> Models:
        return Models(self.config)

    @functools.cached_property
    def images(self) -> dict[str, np.ndarray]:
        """`{image id: [H, W, 3] uint8}` of the training and the val images."""
        sets = [self.train, *([self.val] if self.val else [])]
        return {name: dataset.image(name) for dataset in sets for name in dataset.ids}

    @functools.cached_property
    def background(self) -> dict[str, np.ndarray]:
        """`{training image id: [H, W] bool}`, True in its negative tiles; empty without `pseudo.negative_tiles`.

        Raises:
            InputError: `pseudo.ignore_rest` is set, and no tile is of a training image: nothing would be background.
        """
        if not self.config.pseudo.negative_tiles:
            return {}
        shapes = {name: self.images[name].shape[:2] for name in self.train.ids}
        folder = self.config.tiles.folder or self.run.path("tiles")
        areas = negative_areas(folder, shapes)
        if self.config.pseudo.ignore_rest and not any(area.any() for area in areas.values()):
            raise InputError(
                f"{folder}: no negative tile is named <image id>_<y>_<x> after a training image, so none tells where "
                "background is; name the tiles so, or set pseudo.ignore_rest and pseudo.negative_tiles to false"
            )
        return areas

    @property
    def val_ids(self) -> list[str]:
        return self.val.ids if self.val else []

    def rounds_before(self, cycle: int, round_: int = 0) -> int:
        """Return how many rounds come before this one: the steps of scores and pictures in TensorBoard."""
        return (cycle - 1) * (self.config.rounds.students + 1) + round_

    def seed(self, *parts: int) -> int:
        """Return a seed of its own for each stage, the same on every start."""
        return int(np.random.SeedSequence([self.config.seed, *parts]).generate_state(1)[0] % 2**31)


def cut_run_tiles(context: Context) -> None:
    """Cut the image-level labelled tiles of the run; reads instance labels, of which only yes or no remains."""
    tiles = context.config.tiles
    if tiles.folder:
        counts = np.bincount(load_tiles(tiles.folder).labels, minlength=2)
        context.run.log("tiles", folder=tiles.folder, positive=counts[1], negative=counts[0])
        return
    if not all(context.train.has_labels(name) for name in context.train.ids):
        raise InputError(
            f"{context.data}: no labels to cut tiles from; set tiles.folder to a folder with positive/ and negative/"
        )
    counts = cut_tiles(
        context.train,
        context.run.path("tiles"),
        size=tiles.size,
        stride=tiles.stride,
        min_coverage=tiles.min_coverage,
        max_coverage_negative=tiles.max_coverage_negative,
        balance=tiles.balance,
        seed=context.config.seed,
    )
    context.run.log("tiles", positive=counts.positive, negative=counts.negative)


def train_front_end(context: Context, cycle: int) -> None:
    """Train the classifier, in later cycles on the backbone that the last Mask R-CNN left."""
    config, run = context.config, context.run
    if cycle > 1:
        context.models.load(
            run.path(f"cycle_{cycle - 1}", "classifier.weights.h5"), run.path(f"cycle_{cycle - 1}", "model.weights.h5")
        )
    settings, seed = config.classifier, context.seed(cycle, 1)
    keras.utils.set_random_seed(seed)
    tiles = load_tiles(config.tiles.folder or run.path("tiles"))
    train, held_out = split_tiles(tiles, settings.held_out, config.seed)
    jitter = functools.partial(stain_jitter, sigma=settings.stain_jitter) if settings.stain_jitter else None
    train_data = TileSequence(
        train.paths,
        train.labels,
        settings.batch,
        seed=seed,
        shear=settings.shear,
        zoom=settings.zoom,
        augment=jitter,
        scale=config.scale,
    )
    val_data = TileSequence(held_out.paths, held_out.labels, settings.batch, train=False, scale=config.scale)
    steps = classifier_steps(config, cycle)
    report = train_classifier(
        context.models.classifier,
        train_data,
        val_data,
        steps,
        settings.learning_rate if cycle == 1 else settings.later_learning_rate,
        config.mean_pixel,
        optimizer=settings.optimizer,
        warmup=min(50, steps // 10),
        weight_decay=settings.weight_decay,
        callbacks=[
            context.progress.callback(f"cycle_{cycle}/classifier", steps),
            context.board.losses(f"cycle_{cycle}/classifier", "classifier"),
        ],
    )
    held_out_scores = {"classifier/held_out_accuracy": report.accuracy, "classifier/held_out_f1": report.f1}
    context.board.scalars("classifier", held_out_scores, cycle)
    run.log("classifier", cycle=cycle, accuracy=report.accuracy, f1=report.f1, losses=list(report.losses))
    context.models.save_classifier(run.path(f"cycle_{cycle}", "classifier.weights.h5"))


def classifier_steps(config: RunConfig, cycle: int) -> int:
    """Return the training steps of the classifier in a cycle; without `later_steps` they grow with it (paper)."""
    settings = config.classifier
    return settings.steps if cycle == 1 else settings.later_steps or settings.steps * cycle


def make_maps(context: Context, cycle: int) -> None:
    """Write the activation map of every training and val image as an 8-bit picture."""
    run = context.run
    context.models.load(run.path(f"cycle_{cycle}", "classifier.weights.h5"))
    for name, image in context.progress.track(list(context.images.items()), f"cycle_{cycle}/maps"):
        found = image_map(context.models, image)
        write_image(run.path(f"cycle_{cycle}", "maps", f"{name}.png"), np.round(found * 255).astype(np.uint8))
        context.board.picture(name, "activation_map", context.rounds_before(cycle), map_colors, found)


def image_map(models: Models, image: np.ndarray) -> np.ndarray:
    """Return the classifier's activation map of an image, `[H, W]` float32 in [0, 1]."""
    config = models.config
    return activation_map(
        models.classifier,
        image,
        config.mean_pixel,
        method=config.maps.method,
        level=config.maps.level,
        scale=config.scale,
        tile=config.maps.tile,
        overlap=config.maps.overlap,
        context=config.tiles.size,
        equivariance=config.maps.flips,
    )


def make_pseudo_masks(context: Context, cycle: int) -> None:
    """Turn maps into pseudo masks; from the second cycle on, the last model's detections join them."""
    folder = context.run.path(f"cycle_{cycle}", "pseudo")
    activations = {name: _activation(context, cycle, name) for name in context.images}
    scored = {}
    for name, image in context.progress.track(list(context.images.items()), f"cycle_{cycle}/pseudo"):
        found = np.zeros(image.shape[:2], np.float32) if activations[name] is None else activations[name]
        scored[name] = scored_components(found, image, context.config, context.background.get(name))
    config = pooled(context.config, [scored[name][2].confidence for name in context.train.ids])
    if config is not context.config:
        write_json(folder / CUT, {"min_confidence": config.pseudo.min_confidence})
    for name, activation in activations.items():
        pseudo = select_components(*scored.pop(name), config)
        pseudo = _with_background(context, pseudo, name, activation)
        if cycle > 1 and name in context.train.ids:
            pseudo = _joined(context, pseudo, _last_round(context, cycle - 1), name, activation)
        save_pseudo_masks(folder, name, pseudo)
        _show_pseudo_masks(context, name, pseudo, context.rounds_before(cycle))


def take_instance_labels(context: Context, cycle: int) -> None:
    """Make the instance labels of the training images the pseudo masks: the fully supervised upper bound."""
    context.run.log("instance_labels", cycle=cycle, images=context.train.ids)
    for name in context.train.ids:
        labels, _, _ = relabel_sequential(context.train.label_map(name))
        labels = labels.astype(np.int32)
        pseudo = PseudoMasks(labels, np.ones(labels.max(initial=0), np.float32), np.zeros(labels.shape, bool))
        save_pseudo_masks(context.run.path(f"cycle_{cycle}", "pseudo"), name, pseudo)


def train_back_end(context: Context, cycle: int, round_: int) -> None:
    """Train the teacher (round 0) or a student on the round's pseudo masks."""
    config, run, settings = context.config, context.run, context.config.segmenter
    if round_ > 0:
        context.models.load(_round(context, cycle, round_ - 1) / "model.weights.h5")
    else:
        if cycle > 1:
            context.models.load(run.path(f"cycle_{cycle - 1}", "model.weights.h5"))
        if config.supervision == "image":
            context.models.load(run.path(f"cycle_{cycle}", "classifier.weights.h5"))
    keras.utils.set_random_seed(context.seed(cycle, 2, round_))
    folder = _pseudo_folder(context, cycle, round_)
    pseudo = {name: load_pseudo_masks(folder, name) for name in context.train.ids}
    if not any(len(each.confidence) for each in pseudo.values()):
        raise InputError(f"{folder}: no pseudo mask in any image; lower pseudo.threshold or raise pseudo.share")
    first = cycle == 1 and round_ == 0
    steps = settings.steps if first else settings.later_steps
    context.models.mrcnn_config.SEED = context.seed(cycle, 3, round_)
    # Keras trains whole epochs, so they are made as even as `steps` allows.
    epochs = -(-steps // settings.steps_per_epoch)
    context.models.mrcnn_config.STEPS_PER_EPOCH = round(steps / epochs)
    key = f"cycle_{cycle}/round_{round_}"
    history = context.models.segmenter().train(
        PseudoDataset(context.images, pseudo),
        None,
        settings.learning_rate if first else settings.later_learning_rate,
        epochs=epochs,
        augmentation=CropAugmentation(settings.stain_jitter, settings.fade),
        custom_callbacks=[
            context.progress.callback(f"{key}/train", epochs * round(steps / epochs)),
            context.board.losses(key, "mask_rcnn"),
        ],
        verbose=0,
    )
    run.log("segmenter", cycle=cycle, round=round_, losses=history.history)
    context.models.save_segmenter(_round(context, cycle, round_) / "model.weights.h5")
    if round_ == config.rounds.students:
        context.models.save_segmenter(run.path(f"cycle_{cycle}", "model.weights.h5"))


def detect(context: Context, cycle: int, round_: int) -> None:
    """Detect nuclei in the images, and make the next round's pseudo masks from what was found in training images."""
    config, folder = context.config, _round(context, cycle, round_)
    context.models.load(folder / "model.weights.h5")
    last = round_ == config.rounds.students
    names = list(context.val_ids) if last and cycle == config.cycles else list(context.images)
    for name in context.progress.track(names, f"cycle_{cycle}/round_{round_}/detect"):
        labels, scores = predict_image(context.models.detector, context.images[name], **detection_options(config))
        save_detections(folder / "detections", name, labels, scores)
        predicted = confident(labels, scores, config.detection.score)
        write_label_map(folder / "predictions" / f"{name}.tif", predicted)
        step = context.rounds_before(cycle, round_ + 1)
        context.board.picture(name, "prediction", step, contour_overlay, context.images[name], predicted, 1)
        if not last and name in context.train.ids:
            pseudo = load_pseudo_masks(_pseudo_folder(context, cycle, round_), name)
            pseudo = _joined(context, pseudo, folder, name, _activation(context, cycle, name))
            save_pseudo_masks(_pseudo_folder(context, cycle, round_ + 1), name, pseudo)
            _show_pseudo_masks(context, name, pseudo, step)


def _show_pseudo_masks(context: Context, name: str, pseudo: PseudoMasks, step: int) -> None:
    image = context.images[name]
    context.board.picture(name, "pseudo_masks", step, pseudo_overlay, image, pseudo.labels, pseudo.ignore, 1)


def save_detections(folder: Path, name: str, labels: np.ndarray, scores: np.ndarray) -> None:
    """Write all detections, also weak ones: `<name>.tif` and `<name>.json`."""
    write_label_map(folder / f"{name}.tif", labels)
    write_json(folder / f"{name}.json", {"scores": [float(score) for score in scores]})


def load_detections(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores that `save_detections` wrote."""
    scores = read_json(folder / f"{name}.json")["scores"]
    return read_label_map(folder / f"{name}.tif"), np.array(scores, np.float32)


def _activation(context: Context, cycle: int, name: str) -> np.ndarray | None:
    """Return what `make_maps` wrote, `[H, W]` float32 in [0, 1]; None in a run without classifier.

    With `maps.average` it is the mean of the cycles so far: what a single classifier overlooks is not lost.
    """
    if context.config.supervision != "image":
        return None
    cycles = range(1 if context.config.maps.average else cycle, cycle + 1)
    maps = [read_map(context.run.path(f"cycle_{each}", "maps", f"{name}.png")) for each in cycles]
    return np.mean(maps, axis=0, dtype=np.float32)


def _joined(
    context: Context, pseudo: PseudoMasks, folder: Path, name: str, activation: np.ndarray | None
) -> PseudoMasks:
    """Return the pseudo masks extended by the detections in `folder`, ranked by score and by looks alike."""
    rounds, settings = context.config.rounds, context.config.pseudo
    labels, scores = load_detections(folder / "detections", name)
    if activation is not None:
        labels, seen = drop_unseen(labels, activation, settings.min_activation, context.background.get(name))
        scores = scores[seen]
    stain = fill_centres(hematoxylin_map(context.images[name]), settings.max_hole, settings.closing)
    quality = np.sqrt(scores * score_components(labels, stain).confidence)
    joined = extend_pseudo_masks(pseudo, labels, scores, quality, rounds.score, rounds.ignore_score, rounds.count)
    return _with_background(context, joined, name, activation)


def _with_background(context: Context, pseudo: PseudoMasks, name: str, activation: np.ndarray | None) -> PseudoMasks:
    """Return the pseudo masks with nothing ignored where the map is low or a negative tile lies."""
    if activation is not None:
        pseudo = trust_background(pseudo, activation, context.config.pseudo.background)
    if name in context.background:
        if context.config.pseudo.ignore_rest:
            pseudo = ignore_rest(pseudo, context.background[name])
        pseudo = clear_background(pseudo, context.background[name])
    return pseudo


def _round(context: Context, cycle: int, round_: int) -> Path:
    return context.run.path(f"cycle_{cycle}", f"round_{round_}")


def _last_round(context: Context, cycle: int) -> Path:
    return _round(context, cycle, context.config.rounds.students)


def _pseudo_folder(context: Context, cycle: int, round_: int) -> Path:
    if round_ == 0:
        return context.run.path(f"cycle_{cycle}", "pseudo")
    return _round(context, cycle, round_) / "pseudo"
