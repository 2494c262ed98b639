"""What is taken for a nucleus: sure detections that the classifier confirms."""

import numpy as np
import pytest

from cyclic.config import load_config
from cyclic.inference import verdict
from cyclic.inference.verdict import are_nuclei, choose_nuclei

LOCAL = load_config((), ("detection.score=0.3",))
POOLED = load_config((), ("detection.score=0.3", "classifier.share=1", "tiles.size=24", "scale=1"))


def three_detections():
    """The second one lies where the map is low, the third one is unsure."""
    labels = np.zeros((40, 60), np.int32)
    for label, x in enumerate((5, 25, 45), 1):
        labels[10:18, x : x + 8] = label
    activation = np.full((40, 60), 0.1, np.float32)
    activation[10:18, 5:13] = activation[10:18, 45:53] = 0.8
    return labels, np.array([0.9, 0.8, 0.2], np.float32), activation


@pytest.fixture
def image():
    return np.full((40, 60, 3), 220, np.uint8)


@pytest.fixture
def asked(monkeypatch):
    """Who was asked for a verdict: the map, or the tiles."""
    calls = []
    monkeypatch.setattr(verdict, "activation_map", lambda *_, **__: calls.append("map") or three_detections()[2])
    monkeypatch.setattr(verdict, "tiles_with_nuclei", lambda *a: calls.append("tiles") or np.ones(a[3], bool))
    return calls


def chosen(labels, scores, image, activation, least):
    config = load_config((), ("detection.score=0", f"detection.evidence={least}"))
    return choose_nuclei(labels, scores, image, config, None, activation)


def test_the_map_decides_by_its_mean_within_a_detection(image):
    labels, scores, activation = three_detections()
    remaining, kept = chosen(labels, scores, image, activation, 0.3)
    np.testing.assert_array_equal(remaining, np.array([0, 1, 0, 2], np.int32)[labels])
    np.testing.assert_array_equal(kept, scores[[0, 2]])
    at_the_limit = np.full_like(activation, 0.5)
    assert len(chosen(labels, scores, image, at_the_limit, 0.5)[1]) == 3
    assert len(chosen(labels, scores, image, at_the_limit, 0.6)[1]) == 0


def test_a_detection_without_pixels_goes(image):
    labels, scores, activation = three_detections()
    labels[labels == 3] = 0
    assert len(chosen(labels, scores, image, activation, 0.3)[1]) == 1


def test_a_detection_needs_three_quarters_of_what_the_surest_have():
    scores = np.repeat([0.9, 0.6], [20, 3])
    evidence = np.append(np.full(20, 0.8), [0.59, 0.61, 0.9])
    np.testing.assert_array_equal(are_nuclei(evidence, scores, 0.3)[20:], [False, True, True])
    np.testing.assert_array_equal(are_nuclei(evidence, scores, 0.7)[20:], [False, False, True])
    # Nineteen sure ones say nothing, nor do sure ones with hardly any evidence.
    assert are_nuclei(evidence[1:], scores[1:], 0.3).all()
    assert not are_nuclei(np.full(23, 0.2), scores, 0.3).any()


def test_unsure_detections_go_before_anybody_is_asked(image, asked):
    labels, scores, _ = three_detections()
    every, all_scores = choose_nuclei(labels, scores, image, LOCAL, None)
    assert every.max() == len(all_scores) == 2 and asked == []
    none, _ = choose_nuclei(labels, np.full(3, 0.1, np.float32), image, LOCAL, object())
    assert none.max() == 0 and asked == []


def test_the_map_is_made_where_the_sure_detections_are(image, monkeypatch):
    labels, scores, activation = three_detections()
    asked = []
    monkeypatch.setattr(verdict, "activation_map", lambda *_, where, **__: asked.append(where) or activation)
    choose_nuclei(labels, scores, image, LOCAL, object())
    np.testing.assert_array_equal(asked, [(labels == 1) | (labels == 2)])


def test_local_evidence_gives_its_map_and_average_pooling_its_answer(image, asked):
    labels, scores, activation = three_detections()
    remaining, kept = choose_nuclei(labels, scores, image, LOCAL, object())
    assert kept == scores[:1] and np.array_equal(remaining, labels == 1) and asked == ["map"]
    assert len(choose_nuclei(labels, scores, image, POOLED, object())[1]) == 2 and asked == ["map", "tiles"]
    strict = load_config((), ("detection.score=0.3", "detection.evidence=0.9"))
    assert len(choose_nuclei(labels, scores, image, strict, None, activation)[1]) == 0
    # A map that is made already is not made again.
    again, _ = choose_nuclei(labels, scores, image, LOCAL, None, activation)
    assert np.array_equal(again, remaining) and len(asked) == 2
