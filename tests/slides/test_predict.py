"""A slide in chunks is the slide in one piece: property-tested with a network whose tiles disagree."""

import re
import warnings

import numpy as np
import pytest
from drawn_slides import draw_blobs, fake_predictor, write_ome, write_svs
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.slides.predict import SlideOptions, find_nuclei

EVERYWHERE = {"mpp": 0.25, "tissue": "none"}


def in_chunks(predictor, path, folder, **options):
    """The label map and the scores of a slide that was predicted in chunks."""
    found = find_nuclei(predictor, path, SlideOptions(**(EVERYWHERE | options)), folder, "fake", lambda: predictor)
    scores = np.zeros(len(found), np.float32)
    for nuclei in found:
        scores[nuclei.numbers - 1] = nuclei.scores
    return found.label_map(), scores


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A picture with nuclei on every seam, and its file."""
    path = tmp_path_factory.mktemp("scene") / "a.png"
    image = draw_blobs(170, 230, seed=1)
    write_image(path, image)
    return image, path


@settings(max_examples=12)
@given(
    tile=st.integers(40, 120),
    overlap=st.integers(8, 20),
    chunk=st.integers(30, 260),
    shape_power=st.sampled_from([0.0, 8.0]),
    max_area_ratio=st.sampled_from([None, 1.5, 5.0]),
)
def test_chunks_of_any_size_give_what_one_piece_gives(
    scene, tmp_path_factory, tile, overlap, chunk, shape_power, max_area_ratio
):
    image, path = scene
    predictor = fake_predictor(tile, overlap, shape_power=shape_power, max_area_ratio=max_area_ratio)
    whole = predictor.predict(image, mpp=0.25)
    assert len(whole) > 10
    labels, scores = in_chunks(predictor, path, tmp_path_factory.mktemp("chunks"), chunk=chunk)
    np.testing.assert_array_equal(labels, whole.labels)
    np.testing.assert_array_equal(scores, whole.scores)


@pytest.mark.parametrize("mpp", [0.2, 0.4])
def test_at_another_resolution_chunks_change_nothing_either(scene, tmp_path, mpp):
    image, path = scene
    predictor = fake_predictor()
    one, _ = in_chunks(predictor, path, tmp_path / "one", mpp=mpp, chunk=1000)
    many, _ = in_chunks(predictor, path, tmp_path / "many", mpp=mpp, chunk=70)
    assert one.shape == image.shape[:2] and one.max() > 10
    np.testing.assert_array_equal(one, many)


def test_the_classifier_is_asked_chunk_by_chunk(scene, tmp_path, monkeypatch):
    """The stand-in for the verdict drops nuclei by where they lie in the slide, which it reads off the pixels."""
    image, path = scene
    image = image.copy()
    image[:, 115:, 1] = 60  # what the verdict goes by
    image[:, 115:, 0] = np.where(image[:, 115:, 0] < 128, 90, 245)
    write_image(tmp_path / "b.png", image)

    def evidence(labels, count, pixels, config, classifier):
        return np.array([(pixels[labels == label][:, 1] != 60).all() for label in range(1, count + 1)], float)

    monkeypatch.setattr("cyclic.slides.tasks.evidence_for", evidence)
    predictor = fake_predictor()
    before, _ = in_chunks(predictor, tmp_path / "b.png", tmp_path / "before", chunk=80)
    predictor.classifier = "a classifier"
    after, scores = in_chunks(predictor, tmp_path / "b.png", tmp_path / "after", chunk=80)
    kept = [label for label in range(1, before.max() + 1) if not (np.nonzero(before == label)[1] >= 115).any()]
    np.testing.assert_array_equal(after > 0, np.isin(before, kept))
    assert 0 < len(scores) == len(kept) == after.max() < before.max() and (np.diff(scores) <= 0).all()


def test_how_much_evidence_is_enough_follows_from_the_whole_slide(scene, tmp_path, monkeypatch):
    """In small chunks no chunk has the twenty surest nuclei that it takes to say what is usual."""
    _, path = scene
    monkeypatch.setattr("cyclic.inference.verdict.SUREST", 0.0)

    def evidence(labels, count, pixels, config, classifier):
        return np.where([(labels == label).sum() > 90 for label in range(1, count + 1)], 0.8, 0.5)

    monkeypatch.setattr("cyclic.slides.tasks.evidence_for", evidence)
    predictor = fake_predictor()
    predictor.classifier = "a classifier"
    one, scores = in_chunks(predictor, path, tmp_path / "one", chunk=1000)
    many, _ = in_chunks(predictor, path, tmp_path / "many", chunk=70)
    np.testing.assert_array_equal(one, many)
    every, _ = in_chunks(fake_predictor(), path, tmp_path / "every")
    sizes = np.bincount(every.ravel())[1:]
    assert 20 <= (sizes > 90).sum() < len(sizes) and len(scores) == (sizes > 90).sum()


def test_a_region_is_predicted_as_an_image_and_lies_at_its_place(scene, tmp_path):
    image, path = scene
    predictor = fake_predictor()
    labels, _ = in_chunks(predictor, path, tmp_path, region=(40, 30, 120, 100), chunk=64)
    part = predictor.predict(image[30:130, 40:160], mpp=0.25).labels
    assert part.max() > 5 and not np.delete(labels, np.s_[30:130], axis=0).any()
    np.testing.assert_array_equal(labels[30:130, 40:160], part)


def test_polygons_keep_the_nuclei_whose_centre_they_hold(scene, tmp_path):
    _, path = scene
    mask = tmp_path / "a.geojson"
    mask.write_text('{"type": "Polygon", "coordinates": [[[0, 0], [100, 0], [100, 170], [0, 170], [0, 0]]]}')
    predictor = fake_predictor()
    everywhere, _ = in_chunks(predictor, path, tmp_path / "all")
    chosen, _ = in_chunks(predictor, path, tmp_path / "some", tissue=str(mask))
    centres = np.array([np.nonzero(everywhere == label)[1].mean() + 0.5 for label in range(1, everywhere.max() + 1)])
    far = [label for label, x in enumerate(centres, 1) if x < 60]
    assert np.isin(everywhere, far)[chosen > 0].any() and (chosen > 0)[np.isin(everywhere, far)].all()
    assert not chosen[:, 140:].any() and chosen.max() > 5


@pytest.mark.parametrize("write", [write_svs, write_ome])
def test_a_slide_finds_what_its_pixels_as_an_image_do(tmp_path, write):
    image = draw_blobs(300, 420, seed=2)
    path = tmp_path / ("a.svs" if write is write_svs else "a.ome.tif")
    write(path, image, mpp=0.25, compression=None if write is write_svs else "zlib")
    predictor = fake_predictor()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predictor.predict_slide(path, tissue="none")
    assert found.mpp == pytest.approx(0.25) and found.shape == (300, 420)
    np.testing.assert_array_equal(found.label_map(), predictor.predict(image, mpp=0.25).labels)


@pytest.mark.parametrize(("mpp", "said"), [(None, "does not say its resolution"), (350.0, "which no microscope makes")])
def test_without_a_resolution_a_warning_names_the_assumption(tmp_path, mpp, said):
    write_svs(tmp_path / "a.svs", draw_blobs(300, 300), mpp=mpp)
    with pytest.warns(UserWarning, match=rf"a\.svs: .*{said}.* taken for 0\.25 µm per pixel, as in training; --mpp"):
        found = fake_predictor().predict_slide(tmp_path / "a.svs")
    assert found.mpp is None and len(found) > 5


def test_what_cannot_be_predicted_is_said_in_one_line(tmp_path):
    glass = np.full((300, 300, 3), 244, np.uint8)
    write_svs(tmp_path / "glass.svs", glass)
    write_svs(tmp_path / "coarse.svs", draw_blobs(300, 300), mpp=4.0)
    for call, words in {
        lambda: fake_predictor().predict_slide(
            tmp_path / "glass.svs"
        ): "glass.svs: no tissue found; give --tissue none",
        lambda: fake_predictor().predict_slide(tmp_path / "coarse.svs"): "coarse.svs: mpp 4: more than 8 times",
        lambda: fake_predictor(views=2).predict_slide(tmp_path / "glass.svs"): "a slide is looked at in one view",
        lambda: fake_predictor().predict_slide(tmp_path / "glass.svs", region=(0, 0, 301, 9)): "is not within its",
        lambda: fake_predictor().predict_slide(tmp_path / "glass.svs", region=(0, 9)): "four whole numbers",
        lambda: fake_predictor().predict_slide(tmp_path / "glass.svs", mpp="0.5"): "mpp 0.5: give the micrometres",
    }.items():
        with pytest.raises(InputError, match=re.escape(words)):
            call()


def test_a_slide_without_nuclei_has_none(tmp_path):
    write_svs(tmp_path / "a.svs", np.full((300, 300, 3), 244, np.uint8))
    found = fake_predictor().predict_slide(tmp_path / "a.svs", tissue="none")
    assert len(found) == 0 and list(found) == [] and not found.label_map().any()
