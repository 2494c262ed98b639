"""Classifier training: it learns, stops where told, fails loudly."""

import keras
import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from cyclic.backbones import build_backbone
from cyclic.classifier import build_classifier, train_classifier, with_evidence
from cyclic.classifier import training as train_module
from cyclic.errors import InputError

MEAN_PIXEL = (200.0, 180.0, 200.0)


class Tiles(keras.utils.PyDataset):
    """Bright tiles, half of them with a dark square."""

    def __init__(self, batches, seed=0, bad=None):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.images = rng.normal(MEAN_PIXEL, 10, (batches, 4, 32, 32, 3)).astype("float32")
        self.labels = np.tile(np.array([0, 1, 0, 1], "int32"), (batches, 1))
        self.images[:, 1::2, 8:20, 8:20] -= 100
        if bad is not None:
            self.images[bad] = np.nan
        self.passes = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]

    def on_epoch_end(self):
        self.passes += 1


def classifier():
    keras.utils.set_random_seed(1)
    return build_classifier(build_backbone("resnet18", "group", (32, 32, 3)), ("C3",))


def test_learns_a_dark_square():
    epochs = []
    report = train_classifier(
        classifier(),
        Tiles(3),
        Tiles(2, seed=1),
        steps=14,
        learning_rate=1e-3,
        mean_pixel=MEAN_PIXEL,
        warmup=2,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(logs["loss"]))],
    )
    assert report.steps == 14
    assert report.accuracy == report.f1 == 1
    assert len(report.losses) == len(epochs) == 5
    assert report.losses[-1] < 0.5 * report.losses[0]


def test_long_data_is_cut_into_epochs(monkeypatch):
    monkeypatch.setattr(train_module, "STEPS_PER_EPOCH", 3)
    data = Tiles(7)
    epochs = train_module._MeanSubtracted(data, MEAN_PIXEL)
    starts = []
    for _ in range(6):
        starts.append(epochs.start)
        images, labels = epochs[1]
        np.testing.assert_allclose(images, data.images[epochs.start + 1] - np.array(MEAN_PIXEL, "float32"))
        epochs.on_epoch_end()
    assert len(epochs) == 2
    assert starts == [0, 2, 4, 0, 2, 4]
    assert data.passes == 2


def test_paper_optimizer_changes_the_weights():
    model = classifier()
    before = model.get_weights()
    report = train_classifier(model, Tiles(1), Tiles(1), 2, 1e-4, MEAN_PIXEL, optimizer="sgd")
    assert report.steps == 2
    assert any(np.abs(new - old).max() > 0 for new, old in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize("optimizer, decay", [("adamw", 1e-4), ("sgd", None)])
def test_weight_decay_follows_the_optimizer_and_momentum_is_nesterovs(optimizer, decay):
    model = classifier()
    train_classifier(model, Tiles(1), Tiles(1), 1, 1e-4, MEAN_PIXEL, optimizer=optimizer)
    assert model.optimizer.weight_decay == decay
    assert optimizer != "sgd" or (model.optimizer.nesterov and model.optimizer.momentum == 0.9)


def test_loss_that_is_not_finite_names_the_step():
    with pytest.raises(FloatingPointError, match="step 2"):
        train_classifier(classifier(), Tiles(3, bad=1), Tiles(1), 3, 1e-3, MEAN_PIXEL)


@pytest.mark.parametrize(
    "arguments, message",
    [({"steps": 0}, "at least 1 step"), ({"warmup": 5}, "warm-up"), ({"optimizer": "adam"}, "adamw, sgd")],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        train_classifier(
            classifier(),
            Tiles(1),
            Tiles(1),
            **{"steps": 2, "learning_rate": 1e-3, "mean_pixel": MEAN_PIXEL} | arguments,
        )


def test_no_tiles():
    with pytest.raises(InputError, match="no tiles"):
        train_classifier(classifier(), Tiles(0), Tiles(1), 1, 1e-3, MEAN_PIXEL)


class Squares(keras.utils.PyDataset):
    """Bright tiles of 64 px; the dark square of every second one lies anywhere, and nobody tells where."""

    def __init__(self, batches, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.images = rng.normal(MEAN_PIXEL, 10, (batches, 4, 64, 64, 3)).astype("float32")
        self.squares = np.zeros((batches, 4, 64, 64), bool)
        for index in np.ndindex(batches, 2):
            y, x = rng.integers(4, 44, 2)
            self.squares[index[0], 2 * index[1] + 1, y : y + 16, x : x + 16] = True
        self.images[self.squares] -= 100

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        labels = np.array([0, 1, 0, 1], "int32")
        targets = np.where(labels[:, None, None] == 0, 0, -1) * np.ones((1, 16, 16), "int16")
        return self.images[index], {"answer": labels, "evidence": targets}


def local_classifier():
    keras.utils.set_random_seed(1)
    return build_classifier(build_backbone("resnet18", "group"), ("C2",), share=0.15)


def test_evidence_finds_the_square_that_nobody_has_shown():
    keras.utils.set_random_seed(1)
    # Batch normalisation, since a group norm would tell the bare parts of positive tiles from those of negative ones.
    model = build_classifier(build_backbone("resnet18", "batch"), ("C2",), share=0.15)
    train_classifier(model, Squares(6), Tiles(1), 30, 2e-3, MEAN_PIXEL, warmup=2, evidence="C2")
    unseen = Squares(1, seed=1)
    images = unseen.images[0] - np.array(MEAN_PIXEL, "float32")
    evidence = keras.ops.convert_to_numpy(with_evidence(model, "C2")(images, training=True)["evidence"])
    for each, square in zip(evidence[1::2], unseen.squares[0, 1::2, 2::4, 2::4], strict=True):
        near = maximum_filter(square, 5)
        assert near.mean() < 0.3 and near.ravel()[each.argmax()]
    assert evidence[::2].mean() < evidence[1::2].mean()


def test_feedback_teaches_a_tile_without_an_answer():
    targets = np.full((4, 8, 8), -1, "int16")
    targets[:, 2:5, 2:5] = 1
    targets[:, 6:] = 0

    class Unanswered(Tiles):
        def __getitem__(self, index):
            return self.images[index], {"answer": np.full(4, -1), "evidence": targets}

    model = local_classifier()
    report = train_classifier(model, Unanswered(2), Tiles(1), 12, 2e-3, MEAN_PIXEL, evidence="C2")
    assert report.losses[-1] < 0.7 * report.losses[0]
