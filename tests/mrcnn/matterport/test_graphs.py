"""Matterport's graph functions, on arrays and as part of a Keras graph."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import utils
from cyclic.mrcnn.geometry import boxes_numpy
from cyclic.mrcnn.parallel_model import ParallelModel

RNG = np.random.default_rng(0)
CORNERS = RNG.integers(0, 30, (6, 2))
BOXES = np.concatenate([CORNERS, CORNERS + RNG.integers(4, 20, (6, 2))], axis=1).astype("float32")
DELTAS = RNG.normal(size=(6, 4)).astype("float32") * 0.1
WINDOW = np.float32([5, 6, 30, 40])
PADDED = np.float32([[0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 5, 0]])
ROWS, COUNTS = np.arange(24, dtype="float32").reshape(3, 4, 2), np.array([2, 0, 3], "int32")
META = modellib.compose_image_meta(7, (50, 60, 3), (64, 64, 3), (7, 2, 57, 62), 1.5, [1, 0, 1])[None].astype("float32")


def pixels(boxes):
    return boxes_numpy.denorm_boxes(boxes_numpy.norm_boxes(boxes, (50, 60)), (50, 60))


CASES = {
    "apply_box_deltas_graph": ([BOXES, DELTAS], boxes_numpy.apply_box_deltas(BOXES, DELTAS)),
    "clip_boxes_graph": ([BOXES, WINDOW], np.clip(BOXES, WINDOW[[0, 1, 0, 1]], WINDOW[[2, 3, 2, 3]])),
    "overlaps_graph": ([BOXES, BOXES[:4] + 1], boxes_numpy.compute_overlaps(BOXES, BOXES[:4] + 1)),
    "norm_boxes_graph": ([BOXES, np.int32([50, 60])], boxes_numpy.norm_boxes(BOXES, (50, 60))),
    "denorm_boxes_graph": ([boxes_numpy.norm_boxes(BOXES, (50, 60)), np.int32([50, 60])], pixels(BOXES)),
    "log2_graph": ([np.float32([1, 2, 10])], np.log2([1, 2, 10])),
    "smooth_l1_loss": ([np.float32([0, 1, 1, 5]), np.float32([0, 1.5, -1, 2])], [0, 0.125, 1.5, 2.5]),
    "trim_zeros_graph": ([PADDED], (PADDED[[1, 3]], [False, True, False, True])),
    "batch_pack_graph": ([ROWS, COUNTS], np.concatenate([ROWS[0, :2], ROWS[2, :3]])),
    "parse_image_meta_graph": ([META], modellib.parse_image_meta(META)),
}
EXTRA = {"batch_pack_graph": (3,)}


def assert_equal(found, expected):
    keras.tree.assert_same_structure(found, expected)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), other, rtol=1e-5, atol=1e-5)


def of(name):
    arrays, expected = CASES[name]
    expected = np.asarray(expected) if isinstance(expected, list) else expected
    expected = tuple(map(np.asarray, expected)) if isinstance(expected, tuple) else expected
    return getattr(modellib, name), arrays, EXTRA.get(name, ()), expected


@pytest.mark.parametrize("name", CASES)
def test_on_arrays(name):
    function, arrays, extra, expected = of(name)
    assert_equal(function(*arrays, *extra), expected)


@pytest.mark.parametrize("name", CASES)
def test_in_a_graph(name):
    """Matterport's programs call them on the symbolic tensors of a model."""
    if keras.backend.backend() == "jax" and name in ("trim_zeros_graph", "batch_pack_graph"):
        pytest.skip("JAX cannot compile a result whose size depends on the values")
    function, arrays, extra, expected = of(name)
    inputs = [keras.Input(batch_shape=array.shape, dtype=str(array.dtype)) for array in arrays]
    assert_equal(keras.Model(inputs, function(*inputs, *extra))(arrays), expected)


def test_boxes_are_denormalized_to_whole_pixels():
    found = modellib.denorm_boxes_graph(boxes_numpy.norm_boxes(BOXES, (50, 60)), (50, 60))
    assert keras.backend.standardize_dtype(found.dtype) == "int32"
    np.testing.assert_array_equal(ops.convert_to_numpy(found), BOXES)


def test_boxes_without_area_overlap_nothing():
    found = modellib.overlaps_graph(np.zeros((1, 4), "float32"), BOXES)
    assert not ops.convert_to_numpy(found).any()


def test_a_model_for_several_gpus_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="GPU_COUNT = 2 devices by itself; use its train"):
        ParallelModel(None, 2)


def test_the_function_that_matterport_never_wrote_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="mold_mask: .*use minimize_mask"):
        utils.mold_mask(np.zeros((4, 4)), None)
