"""Imports go down the house only: every import of every module is read, and none is excepted."""

import ast
import graphlib
from pathlib import Path

import pytest

import cyclic

ROOT = Path(cyclic.__file__).parent
# From top to bottom, as in docs/architecture.md. A room may import those below it, never those above.
HOUSE = """
    __init__ cli
    label
    slides
    doctor report inspect cycle inference runs models trained networks
    semi pseudo activation classifier
    mrcnn.model mrcnn.visualize mrcnn.utils mrcnn.parallel_model mrcnn.matterport mrcnn.detect mrcnn.train
    mrcnn.layers mrcnn.data mrcnn.weights mrcnn.kernels mrcnn.geometry mrcnn.config mrcnn
    backbones evaluation datasets draw
    labels stain tiling symmetry fitting images label_maps mat resolution files config retired errors allocator
""".split()  # noqa: SIM905


def modules():
    """`{module name without "cyclic.": path}`."""
    paths = {path.relative_to(ROOT).with_suffix(""): path for path in ROOT.rglob("*.py")}
    names = {".".join(place.parts): path for place, path in paths.items()}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


MODULES = modules()


def room(module):
    """The room of a module: the longest name of the house that it lies in."""
    return max((name for name in HOUSE if f"{module}.".startswith(f"{name}.")), key=len, default=None)


def imports(path):
    """The modules of the house that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "cyclic":
                    yield alias.name.removeprefix("cyclic").lstrip(".") or "__init__"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if (node.module or "").split(".")[0] == "cyclic":
                parent = node.module.removeprefix("cyclic").lstrip(".")
                for alias in node.names:
                    child = f"{parent}.{alias.name}".lstrip(".")
                    yield child if child in MODULES else parent or "__init__"


def test_every_module_has_a_room():
    assert [name for name in MODULES if room(name) is None] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_its_own_room_or_those_below(module):
    above = [name for name in imports(MODULES[module]) if HOUSE.index(room(name)) < HOUSE.index(room(module))]
    assert above == []


def test_no_modules_import_each_other_in_a_circle():
    # A package's own file may import its modules; none of these imports it back.
    graph = {name: set(imports(path)) - {name} for name, path in MODULES.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_the_test_sees_an_import_that_goes_up():
    assert HOUSE.index(room("cycle.stages.maps")) < HOUSE.index(room("networks"))
    assert room("mrcnn.layers.rpn") == "mrcnn.layers" and room("mrcnn.model") == "mrcnn.model"
    assert set(imports(MODULES["inference.folder"])) >= {"runs.progress", "inference.predictor", "files"}


def keras_names(path):
    """The attributes of `keras.layers` and `keras.ops` that a file uses."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in (
            "keras.layers",
            "layers",
            "keras.ops",
            "ops",
        ):
            yield node.attr


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_uses_what_keras_does_otherwise_on_another_backend(module):
    used = set(keras_names(MODULES[module]))
    # Keras' own augmentation misplaces boxes, masks and turned images; `datasets.augment` does that work.
    assert not {name for name in used if name.startswith(("Random", "RandAugment", "AugMix", "CutMix", "MixUp"))}
    # Of equal values PyTorch takes any.
    assert "top_k" not in used or module == "mrcnn.kernels.top_k"
