"""The five losses: known values, what takes no part, and gradients that stay finite."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.layers import losses

LOG2 = float(np.log(2))


def number(value):
    return float(ops.convert_to_numpy(value))


def value_and_gradient(loss, prediction):
    """Return the loss of `prediction` and its gradient, on whichever backend runs."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensor = tf.convert_to_tensor(prediction)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = loss(tensor)
        return number(value), tf.convert_to_tensor(tape.gradient(value, tensor)).numpy()
    if backend == "jax":
        import jax

        value, gradient = jax.value_and_grad(loss)(prediction)
        return number(value), np.asarray(gradient)
    tensor = ops.convert_to_tensor(prediction).detach().requires_grad_()
    value = loss(tensor)
    value.backward()
    return number(value), tensor.grad.cpu().numpy()


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_smooth_l1_is_quadratic_then_linear():
    found = ops.convert_to_numpy(losses.smooth_l1(np.float32([0, 0.5, -0.5, 1, -3])))
    np.testing.assert_allclose(found, [0, 0.125, 0.125, 0.5, 2.5])


# --- RPN ---


def test_rpn_class_loss_counts_positives_and_negatives_only():
    match = np.int32([[1, -1, 0, 0]])[..., None]
    logits = np.float32([[[0, 0], [np.log(3), 0], [50, -50], [-50, 50]]])
    assert number(losses.rpn_class_loss(match, logits)) == pytest.approx((LOG2 + np.log(4 / 3)) / 2, rel=1e-5)


def test_rpn_class_loss_knows_the_sign():
    logits = np.float32([[[-5, 5]]])
    assert number(losses.rpn_class_loss(np.int32([[[1]]]), logits)) < 1e-3
    assert number(losses.rpn_class_loss(np.int32([[[-1]]]), logits)) > 9


def test_rpn_bbox_loss_pairs_the_positives_of_each_image_in_order():
    match = np.int32([[0, 1, -1, 1], [1, 0, 0, 0]])[..., None]
    deltas = np.zeros((2, 4, 4), "float32")
    deltas[0, 1], deltas[0, 3], deltas[1, 0] = 1, 2, 3
    target = np.zeros((2, 3, 4), "float32")
    target[0, 0], target[0, 1], target[1, 0] = 1, 2, 3
    assert number(losses.rpn_bbox_loss(target, match, deltas)) == 0
    deltas[1, 0] = 5  # four coordinates of twelve are off by 2, each costing 1.5
    assert number(losses.rpn_bbox_loss(target, match, deltas)) == pytest.approx(0.5)
    deltas[0, 0] = 99  # a neutral anchor
    assert number(losses.rpn_bbox_loss(target, match, deltas)) == pytest.approx(0.5)


def test_more_positives_than_target_slots_stay_in_range():
    match = np.ones((1, 6, 1), "int32")
    assert np.isfinite(number(losses.rpn_bbox_loss(np.zeros((1, 2, 4), "float32"), match, random(1, 6, 4))))


@pytest.mark.parametrize(
    "loss, prediction",
    [
        (lambda x: losses.rpn_class_loss(np.zeros((2, 5, 1), "int32"), x), random(2, 5, 2)),
        (
            lambda x: losses.rpn_bbox_loss(np.zeros((2, 3, 4), "float32"), -np.ones((2, 5, 1), "int32"), x),
            random(2, 5, 4),
        ),
        (
            lambda x: losses.mrcnn_bbox_loss(np.zeros((2, 5, 4), "float32"), np.zeros((2, 5), "int32"), x),
            random(2, 5, 3, 4),
        ),
        (
            lambda x: losses.mrcnn_mask_loss(np.zeros((1, 2, 4, 4), "float32"), np.zeros((1, 2), "int32"), x),
            np.float32([0.0, 1.0]).repeat(32).reshape(1, 2, 4, 4, 2),
        ),
        (
            lambda x: losses.mrcnn_class_loss(
                np.ones((1, 4), "int32"), x, np.ones((1, 2), "float32"), np.zeros((1, 4), "float32")
            ),
            random(1, 4, 2) * 100,
        ),
    ],
    ids=["rpn_class", "rpn_bbox", "bbox", "mask", "class"],
)
def test_nothing_taking_part_costs_nothing(loss, prediction):
    value, gradient = value_and_gradient(loss, prediction)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(prediction))


# --- heads ---


def test_class_loss_is_the_mean_cross_entropy():
    logits = np.float32([[[0, 0], [0, np.log(3)]]])
    loss = losses.mrcnn_class_loss(np.int32([[0, 1]]), logits, np.ones((1, 2), "float32"))
    assert number(loss) == pytest.approx((LOG2 + np.log(4 / 3)) / 2, rel=1e-5)


def test_class_loss_follows_the_roi_weights():
    logits = np.float32([[[0, 0], [9, -9], [0, np.log(3)]]])
    ids, active = np.int32([[0, 1, 1]]), np.ones((1, 2), "float32")
    assert number(losses.mrcnn_class_loss(ids, logits, active, np.float32([[1, 0, 0]]))) == pytest.approx(
        LOG2, rel=1e-5
    )
    weighted = number(losses.mrcnn_class_loss(ids, logits, active, np.float32([[3, 0, 1]])))
    assert weighted == pytest.approx((3 * LOG2 + np.log(4 / 3)) / 4, rel=1e-5)


def test_prediction_of_an_inactive_class_costs_nothing():
    logits = np.float32([[[0, 0, 9], [0, 0.0, -9]], [[0, 0, 9], [0, 0, -9]]])
    ids = np.zeros((2, 2), "int32")
    both = number(losses.mrcnn_class_loss(ids, logits, np.float32([[1, 1, 0], [1, 1, 0]])))
    assert both == pytest.approx(LOG2, rel=1e-3)
    per_image = number(losses.mrcnn_class_loss(ids, logits, np.float32([[1, 1, 0], [1, 1, 1]])))
    assert per_image == pytest.approx((2 * LOG2 + 9) / 3, rel=1e-2)


def test_bbox_loss_looks_at_the_positive_rois_own_class():
    deltas = np.full((1, 3, 3, 4), 77, "float32")
    deltas[0, 0, 2], deltas[0, 2, 1] = 1, 3
    target = np.zeros((1, 3, 4), "float32")
    loss = losses.mrcnn_bbox_loss(target, np.int32([[2, 0, 1]]), deltas)
    assert number(loss) == pytest.approx((0.5 + 2.5) / 2)


def test_mask_loss_looks_at_the_positive_rois_own_class():
    masks = np.full((1, 2, 4, 4, 3), 0.999, "float32")
    masks[0, 0, :, :, 2] = 0.25
    target = np.zeros((1, 2, 4, 4), "float32")
    loss = losses.mrcnn_mask_loss(target, np.int32([[2, 0]]), masks)
    assert number(loss) == pytest.approx(-np.log(0.75), rel=1e-5)


def test_mask_loss_follows_the_pixel_weights():
    masks = np.full((1, 1, 2, 2, 2), 0.5, "float32")
    masks[0, 0, 0] = 0.001
    target, weights = np.ones((1, 1, 2, 2), "float32"), np.ones((1, 1, 2, 2), "float32")
    weights[0, 0, 0] = 0
    assert number(losses.mrcnn_mask_loss(target, np.int32([[1]]), masks, weights)) == pytest.approx(LOG2, rel=1e-5)
    weights[:] = 0
    assert number(losses.mrcnn_mask_loss(target, np.int32([[1]]), masks, weights)) == 0


def test_saturated_mask_is_finite():
    masks = np.zeros((1, 1, 2, 2, 2), "float32")
    target = np.ones((1, 1, 2, 2), "float32")
    value, gradient = value_and_gradient(lambda x: losses.mrcnn_mask_loss(target, np.int32([[1]]), x), masks)
    assert 10 < value < 20 and np.isfinite(gradient).all()


# --- the layer ---


def layer_arguments(positives=2, total=5, anchors=6):
    return {
        "rpn_match": np.int32([[1, -1, 0, 0, 1, -1]])[..., None],
        "rpn_bbox": random(1, 4, 4),
        "rpn_class_logits": random(1, anchors, 2),
        "rpn_deltas": random(1, anchors, 4, seed=1),
        "class_ids": np.int32([[1, 0, 0, 0, 0]]),
        "roi_weights": np.float32([[1, 0, 1, 1, 0]]),
        "active_class_ids": np.ones((1, 2), "float32"),
        "class_logits": random(1, total, 2, seed=2),
        "target_deltas": random(1, positives, 4, seed=3),
        "deltas": random(1, total, 2, 4, seed=4),
        "target_masks": np.ones((1, positives, 4, 4), "float32"),
        "mask_weights": np.ones((1, positives, 4, 4), "float32"),
        "masks": np.full((1, positives, 4, 4, 2), 0.3, "float32"),
    }


def test_layer_gives_the_five_losses_by_name():
    arguments = layer_arguments()
    found = losses.LossLayer()(**arguments)
    assert tuple(found) == losses.LOSS_NAMES
    a = arguments
    expected = (
        losses.rpn_class_loss(a["rpn_match"], a["rpn_class_logits"]),
        losses.rpn_bbox_loss(a["rpn_bbox"], a["rpn_match"], a["rpn_deltas"]),
        losses.mrcnn_class_loss(a["class_ids"], a["class_logits"], a["active_class_ids"], a["roi_weights"]),
        losses.mrcnn_bbox_loss(a["target_deltas"], a["class_ids"][:, :2], a["deltas"][:, :2]),
        losses.mrcnn_mask_loss(a["target_masks"], a["class_ids"][:, :2], a["masks"]),
    )
    for name, value in zip(losses.LOSS_NAMES, expected, strict=True):
        assert tuple(found[name].shape) == (1,) and number(found[name][0]) == pytest.approx(number(value)) != 0


def test_layer_computes_in_float32_under_any_policy():
    arguments = layer_arguments()
    halved = {
        name: ops.cast(value, "bfloat16") if value.dtype == np.float32 else value for name, value in arguments.items()
    }
    layer = losses.LossLayer(dtype="mixed_bfloat16")
    full = losses.LossLayer()(**arguments)
    for name, value in layer(**halved).items():
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert number(value[0]) == pytest.approx(number(full[name][0]), rel=0.05)


def test_layer_survives_its_config():
    assert isinstance(losses.LossLayer.from_config(losses.LossLayer().get_config()), losses.LossLayer)
