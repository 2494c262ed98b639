"""`cyclic prepare`: downloads become the project's own layout, and what is wrong with one is told in one line."""

import functools
import json
import shutil

import numpy as np
import pytest
import scipy.io
import tifffile

from cyclic.cli import main
from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.datasets.prepare import KUMAR, prepare
from cyclic.datasets.synthetic import draw_tissue
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.images import read_image
from cyclic.label_maps import read_label_map

SIDE = 96


@functools.cache
def tissue(seed):
    return draw_tissue(np.random.default_rng(seed), SIDE)


def region(x, y, side=10):
    corners = ((x, y), (x + side, y), (x + side, y + side), (x, y + side))
    return "<Region>" + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in corners) + "</Region>"


def write_outlines(path, layers):
    """An XML file of `{layer: regions}`."""
    content = "".join(
        f'<Annotation><Attributes><Attribute Name="{name}"/></Attributes>{"".join(regions)}</Annotation>'
        for name, regions in layers.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<Annotations>{content}</Annotations>")


def write_tif(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, tissue(seed)[0], photometric="rgb")


def monuseg(root, names=("TCGA-A7-A13E-01Z-00-DX1",), part=""):
    for seed, name in enumerate(names):
        write_tif(root / part / "Tissue Images" / f"{name}.tif", seed)
        write_outlines(root / part / "Annotations" / f"{name}.xml", {"": [region(5, 5), region(40, 40)]})
    return root


def monusac(root):
    for part, patient in (("MoNuSAC_images_and_annotations", "P1"), ("MoNuSAC Testing Data and Annotations", "P2")):
        home = root / part / patient
        write_tif(home / f"{patient}_1.tif")
        shutil.copyfile(home / f"{patient}_1.tif", home / f"{patient}_1.svs")
        layers = {"Epithelial": [region(5, 5)], "Neutrophil ": [region(40, 40)], "Ambiguous": [region(70, 70)]}
        write_outlines(home / f"{patient}_1.xml", layers)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:8, 80:] = 255
    write_image(root / "MoNuSAC_testing_ambiguous_regions/P2/P2_1/Ambiguous/mask.png", mask)
    return root


def split_folders(root, keys=("inst_map", "type_map"), folders=("Train", "Test")):
    for seed, folder in enumerate(folders):
        image, labels = tissue(seed)
        write_image(root / folder / "Images" / f"{folder}_1.png", image)
        (root / folder / "Labels").mkdir()
        content = dict(zip(keys, (labels.astype(np.uint16), np.where(labels > 0, 2, 0).astype(np.uint8)), strict=False))
        scipy.io.savemat(root / folder / "Labels" / f"{folder}_1.mat", content)
    return root


def ccrcc(root):
    return split_folders(root, ("instance_map", "class_map"), ("Train", "Valid", "Test"))


def pannuke(root, folds=(1, 2, 3)):
    for fold in folds:
        masks = np.zeros((2, SIDE, SIDE, 6))
        masks[:, 5:15, 5:15, 0], masks[:, 40:50, 40:50, 3], masks[:, 60:70, 60:70, 3] = 7, 7, 9
        masks[..., 5] = 1 - masks[..., :5].any(-1)
        for kind, array in (("images", np.stack([tissue(k)[0] for k in range(2)]).astype(float)), ("masks", masks)):
            path = root / f"Fold {fold}" / kind / f"fold{fold}" / f"{kind}.npy"
            path.parent.mkdir(parents=True)
            np.save(path, array)
    return root


def paper(root):
    """The folders of the paper's own program."""
    image, labels = tissue(0)
    crops = root / "MoNuSACCROP"
    for name in ("TCGA-A7-A13E_1", "TCGA-E2-A1B5_1"):
        write_image(crops / "images" / f"{name}.png", image)
        write_image(crops / "stage1_train" / name / "images" / f"{name}.png", image)
        for number in np.unique(labels[labels > 0]):
            mask = (labels == number).astype(np.uint8) * 255
            write_image(crops / "stage1_train" / name / "masks" / f"{number}.png", mask)
    for kind in ("positive", "negative"):
        write_image(root / "MyNP" / kind / "1.png", image[:64, :64])
    return crops


def ids(dataset):
    return {split: list(names) for split, names in dataset.splits.items()}


def test_monuseg_is_written_as_every_command_reads_it(tmp_path):
    source = monuseg(tmp_path / "in", ("TCGA-A7-A13E-01Z-00-DX1", "TCGA-XX-0001-01Z-00-DX1"))
    prepared = prepare("monuseg", source, tmp_path / "out")
    assert (prepared.images, prepared.nuclei, prepared.splits) == (2, 4, {})
    before, after = open_dataset(source), open_dataset(tmp_path / "out")
    assert before.ids == after.ids and open_splits(tmp_path / "out")[1] is None
    for name in after.ids:
        np.testing.assert_array_equal(before.image(name), after.image(name))
        np.testing.assert_array_equal(before.label_map(name), after.label_map(name))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"images", "labels", "dataset.json"}


def test_the_published_splits_of_monuseg(tmp_path):
    kumar = [f"{patient}-01Z-00-DX1" for patients in KUMAR.values() for patient in patients]
    other = [f"TCGA-XX-{number:04d}" for number in range(7)]
    source = monuseg(tmp_path / "in", [*kumar, *other], "MoNuSeg 2018 Training Data")
    for number in range(14):
        write_tif(source / "MoNuSegTestData" / f"test_{number}.tif")
        write_outlines(source / "MoNuSegTestData" / f"test_{number}.xml", {"": [region(5, 5)]})
    prepared = prepare("monuseg", source, tmp_path / "kumar", "16/14")
    assert prepared.splits == {"train": 16, "test": 14} and prepared.images == 30
    assert set(open_dataset(tmp_path / "kumar").splits["test"]) == set(kumar[16:])
    prepared = prepare("monuseg", source, tmp_path / "whole", "37/14")
    assert prepared.splits == {"train": 37, "test": 14}
    assert "test_0" in open_dataset(tmp_path / "whole").splits["test"]


def test_monusac_keeps_classes_and_where_nobody_could_tell(tmp_path):
    prepare("monusac", monusac(tmp_path / "in"), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert ids(dataset) == {"train": ["P1_1"], "test": ["P2_1"]}
    labels, types = dataset.label_map("P1_1"), dataset.type_map("P1_1")
    assert [int(types[labels == number].max()) for number in (1, 2)] == [1, 4] and labels.max() == 2
    ambiguous = {name: read_image(tmp_path / f"out/ambiguous/{name}.png")[..., 0] > 0 for name in dataset.ids}
    assert ambiguous["P1_1"].sum() == 100 and ambiguous["P2_1"].sum() == 100 + 8 * 16
    assert json.loads((tmp_path / "out/dataset.json").read_text())["classes"]["4"] == "neutrophil"


def test_a_slide_counts_where_there_is_no_tif(tmp_path):
    source = monusac(tmp_path / "in")
    (source / "MoNuSAC_images_and_annotations/P1/P1_1.tif").unlink()
    prepare("monusac", source, tmp_path / "out")
    np.testing.assert_array_equal(open_dataset(tmp_path / "out").image("P1_1"), tissue(0)[0])


@pytest.mark.parametrize(
    ("kind", "write", "splits"),
    [("consep", split_folders, ["train", "test"]), ("ccrcc", ccrcc, ["train", "val", "test"])],
)
def test_folders_of_splits_keep_splits_and_classes(tmp_path, kind, write, splits):
    source = write(tmp_path / "in")
    prepare(kind, source, tmp_path / "out")
    before, after = open_dataset(source), open_dataset(tmp_path / "out")
    assert ids(before) == ids(after) and list(after.splits) == splits
    np.testing.assert_array_equal(after.label_map("Train_1"), before.label_map("Train_1"))
    np.testing.assert_array_equal(after.type_map("Train_1"), np.where(after.label_map("Train_1") > 0, 2, 0))


def test_pannuke(tmp_path):
    prepared = prepare("pannuke", pannuke(tmp_path / "in"), tmp_path / "out")
    assert (prepared.images, prepared.nuclei, prepared.splits) == (6, 18, {"train": 2, "val": 2, "test": 2})
    dataset = open_dataset(tmp_path / "out", "val")
    assert dataset.ids == ["fold2_0", "fold2_1"]
    labels, types = dataset.label_map("fold2_0"), dataset.type_map("fold2_0")
    # Two classes use the number 7: those are two nuclei.
    assert [(int(labels[at]), int(types[at])) for at in ((9, 9), (44, 44), (64, 64), (0, 0))] == [
        (1, 1), (2, 4), (3, 4), (0, 0)
    ]  # fmt: skip
    np.testing.assert_array_equal(dataset.image("fold2_1"), tissue(1)[0])


def test_the_folders_of_the_paper(tmp_path):
    source = paper(tmp_path / "in")
    prepare("monuseg", source, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    np.testing.assert_array_equal(dataset.label_map(dataset.ids[0]) > 0, tissue(0)[1] > 0)
    assert [path.name for path in (tmp_path / "out/tiles/negative").iterdir()] == ["1.png"]
    # A folder Instance_mask/ in the place of Labels/.
    image, labels = tissue(3)
    write_image(tmp_path / "masks/Train/Images/a.png", image)
    write_image(tmp_path / "masks/Train/Instance_mask/a/1.png", (labels == 1).astype(np.uint8))
    prepare("consep", tmp_path / "masks", tmp_path / "of masks")
    np.testing.assert_array_equal(open_dataset(tmp_path / "of masks").label_map("a"), labels == 1)


def test_crops_cover_an_image_once(tmp_path):
    (tmp_path / "in").mkdir()
    source = split_folders(tmp_path / "in", folders=("Train",))
    image = np.tile(tissue(0)[0], (2, 2, 1))[:150, :170]
    write_image(source / "Train/Images/Train_1.png", image)
    labels = np.arange(150 * 170).reshape(150, 170).astype(np.uint16) + 1
    scipy.io.savemat(source / "Train/Labels/Train_1.mat", {"inst_map": labels})
    prepared = prepare("consep", source, tmp_path / "out", crop=64)
    crops = ["Train_1_0_0", "Train_1_0_64", "Train_1_64_0", "Train_1_64_64"]
    assert prepared.splits == {"train": 4} and sorted(prepared_ids(tmp_path / "out")) == crops
    parts = [read_label_map(tmp_path / f"out/labels/{name}.tif") for name in crops]
    np.testing.assert_array_equal(np.block([[parts[0], parts[1]], [parts[2], parts[3]]]), labels)
    np.testing.assert_array_equal(read_image(tmp_path / "out/images/Train_1_64_64.png"), image[64:, 64:])


def prepared_ids(folder):
    return open_dataset(folder).ids


def change(path, text):
    path.write_text(text)


def savemat(path, **content):
    scipy.io.savemat(path, content)


ONE = "TCGA-A7-A13E-01Z-00-DX1"
WRONG = {
    "another data set": (split_folders, "monuseg", {}, "not a download of monuseg but of CoNSeP"),
    "two data sets in one": (
        lambda root: monuseg(monusac(root), part="MoNuSeg 2018 Training Data"),
        "monusac", {}, "beside MoNuSeg's parts; give each data set a folder",
    ),
    "ccrcc for consep": (ccrcc, "consep", {}, "not a download of consep but of ccRCC"),
    "nothing": (lambda root: root, "monuseg", {}, "give the data set's folder"),
    "no fold": (lambda root: root, "pannuke", {}, "no images.npy of PanNuke in it"),
    "an image without outlines": (
        lambda root: (monuseg(root) / f"Annotations/{ONE}.xml").unlink(),
        "monuseg", {}, f"{ONE}.tif: no labels of this image; download them",
    ),
    "outlines without an image": (
        lambda root: write_outlines(monuseg(root) / "Annotations/b.xml", {}),
        "monuseg", {}, "b.xml: outlines without their image",
    ),
    "outlines of another image": (
        lambda root: write_outlines(monuseg(root) / f"Annotations/{ONE}.xml", {"": [region(900, 900)] * 3}),
        "monuseg", {}, "none of its 3 outlines lies in the image",
    ),
    "half an XML file": (
        lambda root: change(monuseg(root) / f"Annotations/{ONE}.xml", "<Annotations>"),
        "monuseg", {}, "not Aperio's outlines",
    ),
    "a broken image": (
        lambda root: (monuseg(root) / f"Tissue Images/{ONE}.tif").write_bytes(b"II*\0"),
        "monuseg", {}, f"{ONE}.tif: not a readable image",
    ),
    "one patient twice": (
        lambda root: shutil.copytree(
            monusac(root) / "MoNuSAC_images_and_annotations/P1", root / "MoNuSAC Testing Data and Annotations/P1"
        ),
        "monusac", {}, "P1_1.tif: same id as",
    ),
    "an incomplete 16/14": (monuseg, "monuseg", {"split": "16/14"}, "lacks TCGA-A7-A13F, TCGA-AR-A1AK, TCGA-AR-A1AS"),
    "an incomplete 37/14": (monuseg, "monuseg", {"split": "37/14"}, "0 images in the part to train, 37 published"),
    "a split of another set": (ccrcc, "ccrcc", {"split": "16/14"}, "--split 16/14: is one of MoNuSeg"),
    "labels of another size": (
        lambda root: savemat(split_folders(root) / "Train/Labels/Train_1.mat", inst_map=np.ones((9, 9), np.uint8)),
        "consep", {}, "shape (9, 9), its image has (96, 96)",
    ),
    "classes of another size": (
        lambda root: savemat(
            split_folders(root) / "Train/Labels/Train_1.mat",
            inst_map=np.ones((SIDE, SIDE), np.uint8), type_map=np.ones((9, 9), np.uint8),
        ),
        "consep", {}, "type_map or class_map is no map of classes",
    ),
    "classes here and there": (
        lambda root: savemat(split_folders(root) / "Test/Labels/Test_1.mat", inst_map=np.ones((SIDE, SIDE), np.uint8)),
        "consep", {}, "Test_1.mat: no classes of nuclei, while other files have some",
    ),
    "a fold without masks": (
        lambda root: shutil.rmtree(pannuke(root, (1,)) / "Fold 1/masks"), "pannuke", {}, "no masks.npy beside it",
    ),
    "masks of another fold": (
        lambda root: np.save(pannuke(root, (1,)) / "Fold 1/masks/fold1/masks.npy", np.zeros((3, SIDE, SIDE, 6))),
        "pannuke", {}, "use files that belong together",
    ),
    "half an array": (
        lambda root: (pannuke(root, (1,)) / "Fold 1/images/fold1/images.npy").write_bytes(b"\x93NUMPY"),
        "pannuke", {}, "images.npy: not a readable array",
    ),
    "a fold without number": (
        lambda root: (pannuke(root, (1,)) / "Fold 1").rename(root / "first") and (root / "first/images/fold1").rename(
            root / "first/images/a"),
        "pannuke", {}, "of which fold? Name its folder fold1",
    ),
    "tiles without negative ones": (
        lambda root: shutil.copytree(paper(root / "x").parent / "MyNP/positive", monuseg(root) / "MyNP/positive"),
        "monuseg", {}, "MyNP/negative: no such folder",
    ),
    "a crop too small": (monuseg, "monuseg", {"crop": 10}, "--crop 10: too small"),
    "a reference for nothing": (monuseg, "monuseg", {"reference": "a.png"}, "--reference a.png: needs --stain"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_written(tmp_path, case):
    write, kind, options, message = WRONG[case]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in")
    with pytest.raises(InputError) as error:
        prepare(kind, tmp_path / "in", tmp_path / "out", **options)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_nothing_is_written_over(tmp_path):
    source = monuseg(tmp_path / "in")
    with pytest.raises(InputError, match="is or holds the download itself"):
        prepare("monuseg", source, tmp_path)
    write_image(tmp_path / "out/images/mine.png", tissue(0)[0])
    with pytest.raises(InputError, match="out: not empty"):
        prepare("monuseg", source, tmp_path / "out")
    assert (tmp_path / "out/images/mine.png").is_file()


def test_a_layer_of_no_class_is_told(tmp_path):
    source = monusac(tmp_path / "in")
    layers = {"Epithelial": [region(5, 5)], "Fibroblast": [region(40, 40)]}
    write_outlines(source / "MoNuSAC_images_and_annotations/P1/P1_1.xml", layers)
    with pytest.warns(UserWarning, match="'fibroblast' is no class of MoNuSAC; nuclei of this layer get none"):
        prepare("monusac", source, tmp_path / "out")
    labels, types = (read_label_map(tmp_path / f"out/{kind}/P1_1.tif") for kind in ("labels", "types"))
    assert types[labels == 1].all() and not types[labels == 2].any() and (labels == 2).any()


def test_the_command(tmp_path, capsys):
    monuseg(tmp_path / "in")
    for arguments, code in (
        (["monuseg", tmp_path / "in", tmp_path / "out"], 0),
        (["dsb", tmp_path, tmp_path / "b"], 2),
    ):
        with pytest.raises(SystemExit) as end:
            main(["prepare", *map(str, arguments)])
        assert end.value.code == code
    told = capsys.readouterr()
    assert told.out == f"1 images with 2 nuclei: {tmp_path / 'out'}\n" and "'dsb' is not one of" in told.err


def test_the_official_image_of_monuseg(tmp_path, shared):
    assert prepare("monuseg", shared / "data/monuseg_official", tmp_path / "out").nuclei == 314
    (name,) = prepared_ids(tmp_path / "out")
    found = read_label_map(tmp_path / f"out/labels/{name}.tif") > 0
    true = read_label_map(shared / f"data/monuseg/labels/{name}.png") > 0
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.96


class TestStain:
    """Of images of other stains: what a library does is seen in the pixels."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("torchstain", reason="torchstain, an extra, is not installed")

    @staticmethod
    def stains(image):
        """The two stains of an image, `[2, 3]` unit optical densities: Macenko et al. 2009, section 2, by hand."""
        density = -np.log((image.reshape(-1, 3) + 1.0) / 240)
        density = density[(density >= 0.15).all(1)]
        plane = np.linalg.svd(np.cov(density.T))[0][:, :2]
        plane *= np.sign(plane[:, :1].sum())
        angles = np.arctan2(*(density @ plane).T[::-1])
        ends = [plane @ (np.cos(angle), np.sin(angle)) for angle in np.percentile(angles, (1, 99))]
        return np.array(sorted(ends, key=lambda stain: -stain[0]))

    def test_macenko_gives_the_stains_of_the_reference(self, tmp_path):
        source = monuseg(tmp_path / "in", ("a", "b"))
        faded = tissue(1)[0].astype(float) * (0.5, 0.95, 0.6) + (120, 0, 20)
        tifffile.imwrite(source / "Tissue Images/b.tif", np.clip(faded, 0, 255).astype(np.uint8), photometric="rgb")
        prepare("monuseg", source, tmp_path / "out", stain="macenko")
        before, reference = read_image(source / "Tissue Images/b.tif"), read_image(tmp_path / "out/stain_reference.png")
        after = read_image(tmp_path / "out/images/b.png")
        np.testing.assert_array_equal(reference, tissue(0)[0])
        wanted = self.stains(reference)
        assert np.abs(self.stains(after) - wanted).max() < 0.08 < np.abs(self.stains(before) - wanted).max()

    def test_reinhard_gives_mean_and_spread_of_the_reference(self, tmp_path):
        source = monuseg(tmp_path / "in", ("a", "b"))
        pale = (tissue(1)[0] * 0.5 + 100).astype(np.uint8)
        tifffile.imwrite(source / "Tissue Images/b.tif", pale, photometric="rgb")
        reference = tmp_path / "reference.png"
        write_image(reference, tissue(5)[0])
        prepare("monuseg", source, tmp_path / "out", stain="reinhard", reference=reference)
        wanted, after = tissue(5)[0].reshape(-1, 3), read_image(tmp_path / "out/images/b.png").reshape(-1, 3)
        assert np.abs(after.mean(0) - wanted.mean(0)).max() < 6 and np.abs(after.std(0) - wanted.std(0)).max() < 6
        assert np.abs(pale.reshape(-1, 3).mean(0) - wanted.mean(0)).max() > 12

    def test_white_images_stay_and_are_no_reference(self, tmp_path):
        source = monuseg(tmp_path / "in", ("a", "b"))
        white = np.full((SIDE, SIDE, 3), 250, np.uint8)
        tifffile.imwrite(source / "Tissue Images/b.tif", white, photometric="rgb")
        with pytest.warns(UserWarning, match="1 images without stained tissue keep their colours, e.g. b"):
            prepare("monuseg", source, tmp_path / "out", stain="macenko")
        np.testing.assert_array_equal(read_image(tmp_path / "out/images/b.png"), white)
        with pytest.raises(InputError, match="no stained tissue, so it is no reference"):
            prepare("monuseg", source, tmp_path / "x", stain="macenko", reference=source / "Tissue Images/b.tif")


def test_without_the_library_stain_has_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs torchstain; install it: pip install torchstain"):
        prepare("monuseg", monuseg(tmp_path / "in"), tmp_path / "out", stain="macenko")
