"""Drawings: which boxes, colours, captions and pixels come out."""

from types import SimpleNamespace

import keras
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import patches

from cyclic.mrcnn import utils, visualize
from cyclic.mrcnn.matterport import charts

NAMES = ["BG", "nucleus", "gland"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def image():
    return np.full((40, 60, 3), 100, np.uint8)


@pytest.fixture
def masks():
    masks = np.zeros((40, 60, 2), bool)
    masks[5:15, 10:30, 0] = masks[20:40, 40:60, 1] = True
    return masks


def rectangles(ax):
    """Return (y1, x1, y2, x2) of the boxes drawn."""
    boxes = [patch for patch in ax.patches if isinstance(patch, patches.Rectangle)]
    return [(b.get_y(), b.get_x(), b.get_y() + b.get_height(), b.get_x() + b.get_width()) for b in boxes]


def contours(ax):
    return [patch for patch in ax.patches if isinstance(patch, patches.Polygon)]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def shown(ax):
    return ax.images[0].get_array()


# --- parts ---


@pytest.mark.parametrize("count", [0, 1, 7])
def test_colours_are_distinct_and_repeatable(count):
    colors = visualize.random_colors(count)
    assert len(set(colors)) == count and colors == visualize.random_colors(count)
    assert all(max(color) == 1.0 for color in colors)
    assert all(max(color) == 0.7 for color in visualize.random_colors(count, bright=False))
    assert count < 2 or visualize.random_colors(count, rng=1) != colors


def test_mask_is_blended_into_the_image_in_place(image, masks):
    painted = visualize.apply_mask(image, masks[..., 0], (1, 0, 0.5), alpha=0.25)
    assert painted is image
    assert image[5, 10].tolist() == [138, 75, 106] and (image[~masks[..., 0]] == 100).all()


def test_box_is_drawn_into_the_pixels(image):
    drawn = visualize.draw_box(image, np.array([10, 20, 30, 50]), [255, 0, 9])
    red = (drawn == [255, 0, 9]).all(axis=-1)
    assert red[10, 20:51].all() and red[10:31, 50].all() and not red[14:27, 24:46].any() and not red[:, :17].any()


@pytest.mark.parametrize("backend, calls", [("agg", 0), ("QtAgg", 1)])
def test_a_window_is_asked_for_only_where_there_is_a_display(monkeypatch, backend, calls, image):
    asked = []
    monkeypatch.setattr(visualize.plt, "get_backend", lambda: backend)
    monkeypatch.setattr(visualize.plt, "show", lambda: asked.append(1))
    visualize.display_images([image])
    assert len(asked) == calls


def test_images_side_by_side(image):
    figure = visualize.display_images([image, image[..., 0], image // 2], titles=["a", "b", "c"], cols=2)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c"]
    assert [int(shown(ax).max()) for ax in figure.axes] == [100, 100, 50]
    assert figure.axes[0].get_subplotspec().get_geometry()[:2] == (2, 2)


# --- instances ---


def test_instances_have_mask_outline_box_and_caption(image, masks):
    boxes = utils.extract_bboxes(masks)
    ax = visualize.display_instances(
        image, boxes, masks, np.array([1, 2]), NAMES, np.array([0.9, 0.75]), title="T", colors=[(1, 0, 0), (0, 0, 1)]
    )
    assert ax.get_title() == "T" and texts(ax) == ["nucleus 0.900", "gland 0.750"]
    assert rectangles(ax) == [tuple(box) for box in boxes.tolist()] and len(contours(ax)) == 2
    assert shown(ax)[6, 12].tolist() == [177, 50, 50] and shown(ax)[30, 50].tolist() == [50, 50, 177]
    assert (shown(ax)[~masks.any(axis=-1)] == 100).all() and (image == 100).all()


def test_instances_in_parts(image, masks):
    boxes = utils.extract_bboxes(masks)
    boxes[1] = 0
    own = plt.figure().add_subplot()
    ax = visualize.display_instances(
        image, boxes, masks, np.array([1, 2]), NAMES, ax=own, show_mask=False, show_bbox=False, captions=["x", "y"]
    )
    assert ax is own and rectangles(ax) == [] and texts(ax) == ["x"] and len(contours(ax)) == 1
    assert (shown(ax) == 100).all()


def test_no_instances(image, capsys):
    ax = visualize.display_instances(image, np.zeros((0, 4)), np.zeros((40, 60, 0), bool), np.zeros(0, int), NAMES)
    assert "No instances" in capsys.readouterr().out and not ax.patches and (shown(ax) == 100).all()


def test_numbers_that_differ_are_refused(image, masks):
    with pytest.raises(ValueError, match="1 boxes, 2 masks, 2 class ids"):
        visualize.display_instances(image, np.ones((1, 4)), masks, np.array([1, 1]), NAMES)
    with pytest.raises(ValueError, match="masks of .* for an image of"):
        visualize.display_instances(image, np.ones((2, 4)), masks[:9], np.array([1, 1]), NAMES)


def test_differences_show_truth_green_and_predictions_red_with_score_and_overlap(image, masks):
    boxes = utils.extract_bboxes(masks)
    padded = np.concatenate([boxes[1:], np.zeros((1, 4), int)])
    shifted = np.roll(masks, 5, axis=1)
    ax = visualize.display_differences(
        image,
        padded,
        np.array([2, 0]),
        np.concatenate([masks[..., 1:], np.zeros((40, 60, 1), bool)], axis=-1),
        utils.extract_bboxes(masks),
        np.array([1, 2]),
        np.array([0.3, 0.8]),
        np.stack([shifted[..., 0], masks[..., 1]], axis=-1),
        NAMES,
        show_mask=False,
    )
    assert texts(ax) == ["", "0.80 / 1.00", "0.30 / 0.00"]
    edges = [patch.get_edgecolor()[:3] for patch in ax.patches if isinstance(patch, patches.Rectangle)]
    assert edges == [(0, 1, 0), (1, 0, 0), (1, 0, 0)] and "GT=green" in ax.get_title()


def test_rois_and_what_they_are_refined_to(image, capsys):
    rois = np.array([[5, 5, 15, 25], [20, 20, 30, 40], [0, 0, 9, 9]])
    masks = np.ones((3, 28, 28), np.float32)
    ax = visualize.draw_rois(image, rois, rois + 2, masks, np.array([1, 0, 0]), NAMES)
    assert rectangles(ax) == [(5, 5, 15, 25), (7, 7, 17, 27), (20, 20, 30, 40), (0, 0, 9, 9)]
    assert texts(ax) == ["nucleus"] and len(ax.lines) == 1 and ax.get_title() == "3 ROIs"
    assert (shown(ax)[5:15, 5:25] != 100).any(axis=-1).all() and (shown(ax)[20:30, 20:40] == 100).all()
    assert "Positive ROIs: 1\nNegative ROIs: 2\nPositive Ratio: 0.33" in capsys.readouterr().out


def test_too_many_rois(image):
    rois = np.tile([[5, 5, 15, 25]], (30, 1))
    ax = visualize.draw_rois(image, rois, rois, np.zeros((30, 28, 28)), np.zeros(30, int), NAMES, limit=4)
    assert len(rectangles(ax)) == 4 and ax.get_title() == "4 of 30 ROIs"


def test_top_masks_are_those_of_the_largest_classes(image, masks):
    figure = visualize.display_top_masks(image, masks, np.array([1, 2]), NAMES, limit=3)
    assert [ax.get_title() for ax in figure.axes] == ["H x W=40x60", "gland", "nucleus", "-"]
    np.testing.assert_array_equal(shown(figure.axes[1]), masks[..., 1])
    assert not shown(figure.axes[3]).any()


def test_boxes_by_visibility(image, masks):
    boxes = np.array([[5, 5, 15, 25], [20, 20, 30, 40], [0, 0, 9, 9], [0, 0, 0, 0]])
    ax = visualize.draw_boxes(image, boxes, boxes + 1, visibilities=[0, 1, 2, 1], captions=list("abcd"), title="T")
    drawn = [patch for patch in ax.patches if isinstance(patch, patches.Rectangle)]
    assert [patch.get_linestyle() for patch in drawn] == ["dotted", "dotted", "solid", "solid", "solid"]
    assert drawn[0].get_edgecolor()[:3] == pytest.approx((0.502,) * 3, abs=1e-3) and drawn[0].get_alpha() == 0.5
    assert texts(ax) == ["a", "b", "c"] and len(ax.lines) == 2 and ax.get_title() == "T"
    ax = visualize.draw_boxes(image, refined_boxes=boxes[:2], masks=masks)
    assert rectangles(ax) == [tuple(box) for box in boxes[:2].tolist()] and len(contours(ax)) == 2
    assert (shown(ax)[masks.any(axis=-1)] != 100).any(axis=-1).all()
    with pytest.raises(ValueError, match="boxes, refined_boxes or both"):
        visualize.draw_boxes(image)


# --- charts and tables ---


def test_precision_recall_curve():
    ax = visualize.plot_precision_recall(0.5, [1, 0.5, 0], [0, 0.5, 1])
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 1], [0.5, 0.5], [1, 0]])
    assert "AP@50 = 0.500" in ax.get_title()


def test_overlaps_say_match_and_wrong():
    overlaps = np.array([[0.9, 0.0], [0.1, 0.6]])
    ax = visualize.plot_overlaps(np.array([1, 1, 0]), np.array([1, 2]), np.array([0.8, 0.7]), overlaps, NAMES)
    assert texts(ax) == ["0.900\nmatch", "0.000\n", "0.100\n", "0.600\nwrong"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["nucleus (0.80)", "gland (0.70)"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["nucleus", "nucleus"]


def test_table_is_aligned_text_without_ipython(capsys, monkeypatch):
    monkeypatch.setattr(charts, "_in_ipython", lambda: False)
    visualize.display_table([["name", "n"], ["conv1", 12]])
    assert capsys.readouterr().out == "name   n\nconv1  12\n"


def test_table_is_html_in_ipython(monkeypatch):
    seen = []
    ipython = SimpleNamespace(HTML=str, display=seen.append)
    monkeypatch.setattr(charts, "_in_ipython", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "IPython.display", ipython)
    monkeypatch.setitem(__import__("sys").modules, "IPython", SimpleNamespace(display=ipython))
    visualize.display_table([["a<b", 1]])
    assert seen == ["<table><tr><td>a&lt;b</td><td>1</td></tr></table>"]


def test_weight_statistics_mark_dead_and_overflown_layers(capsys):
    layers = [keras.layers.Dense(2, name=name) for name in ("good", "dead", "huge")]
    for layer in layers:
        layer.build((None, 3))
    layers[1].kernel.assign(np.ones((3, 2)))
    layers[2].kernel.assign([[0, 2000]] * 3)
    table = visualize.display_weight_stats(SimpleNamespace(get_trainable_layers=lambda: layers))
    assert [row[0] for row in table[1:]] == [
        "good/kernel",
        "good/bias",
        "dead/kernel *** dead?",
        "dead/bias",
        "huge/kernel *** overflow?",
        "huge/bias",
    ]
    assert table[5][1:] == ["(3, 2)", "+0.0000", "+2000.0000", "+1000.0000"]
    assert "WEIGHT NAME" in capsys.readouterr().out


def test_matterports_names_are_all_there():
    names = "display_images random_colors apply_mask display_instances display_differences draw_rois draw_box "
    names += "display_top_masks plot_precision_recall plot_overlaps draw_boxes display_table display_weight_stats"
    assert set(names.split()) == set(visualize.__all__)
