"""Weights files: what was saved comes back, whatever the layout, and a wrong file says what is wrong."""

import json
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from golden import PARITY, needs_parity

from cyclic.backbones import build_backbone
from cyclic.classifier.model import build_classifier
from cyclic.errors import InputError
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.weights.h5 import check_group, leaf_layers, load_weights, read_attributes, read_group, save_weights

LEAVES = ("stem", "conv", "bn", "fc")


def build(seed=0, units=3):
    """Return a model with a nested model, drawn from `seed`; its leaf layers are `LEAVES`."""
    inner_input = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(5, 3, name="conv")(inner_input)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    inner = keras.Model(inner_input, keras.layers.BatchNormalization(name="bn")(x), name="inner")
    image = keras.Input((10, 10, 2))
    x = inner(keras.layers.Conv2D(4, 3, name="stem")(image))
    model = keras.Model(image, keras.layers.Dense(units, name="fc")(keras.layers.Flatten(name="flat")(x)))
    rng = np.random.default_rng(seed)
    for layer in leaf_layers(model).values():
        layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return model


def values(model, names=LEAVES):
    layers = leaf_layers(model)
    return {name: [weight.numpy() for weight in layers[name].weights] for name in names}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        for one, other in zip(first[name], second[name], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


def write_matterport(path, groups, root="", text=bytes):
    """Write `{layer: {weight name: array}}` as Keras 2 does; layer and weight names as bytes or str."""

    def convert(names):
        return np.array([name.encode() for name in names], "S") if text is bytes else list(names)

    with h5py.File(path, "w") as file:
        top = file.create_group(root) if root else file
        top.attrs["layer_names"] = convert(groups)
        for name, weights in groups.items():
            group = top.create_group(name)
            group.attrs["weight_names"] = convert(weights)
            for weight, array in weights.items():
                group.create_dataset(weight, data=array)
    return path


def conv_and_bn(seed=7):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype("float32") for shape in ((3, 3, 4, 5), (5,), (5,), (5,), (5,), (5,))]
    names = ("conv/kernel:0", "conv/bias:0", "bn/gamma:0", "bn/beta:0", "bn/moving_mean:0", "bn/moving_variance:0")
    return dict(zip(names, arrays, strict=True))


@pytest.fixture
def saved(tmp_path):
    save_weights(tmp_path / "weights.h5", build(), {"epoch": 3, "note": "as written"})
    return tmp_path / "weights.h5"


# --- what goes well ---


def test_round_trip(saved):
    model = build(seed=1)
    report = load_weights(saved, model)
    assert_equal(values(model), values(build()))
    assert sorted(report.loaded) == sorted(LEAVES)
    assert report.missing == report.excluded == report.unused == ()
    assert str(report).startswith("4 layers loaded, 0 not in the file")


def test_file_has_matterports_layout(saved):
    with h5py.File(saved) as file:
        assert sorted(file.attrs["layer_names"]) == sorted(name.encode() for name in LEAVES)
        assert list(file["conv"].attrs["weight_names"]) == [b"conv/kernel:0", b"conv/bias:0"]
        assert file["conv"]["conv/kernel:0"].shape == (3, 3, 4, 5)
        assert [name.split(b"/")[1] for name in file["bn"].attrs["weight_names"]] == [
            b"gamma:0",
            b"beta:0",
            b"moving_mean:0",
            b"moving_variance:0",
        ]


def test_attributes_travel_with_the_file(saved):
    assert read_attributes(saved) == {"epoch": 3, "note": "as written"}


@pytest.mark.parametrize("text", [bytes, str])
@pytest.mark.parametrize("root", ["", "model_weights"])
def test_nested_layers_of_any_old_file(tmp_path, root, text):
    """Weights of a nested model lie in the group of that model, as in Matterport's rpn_model."""
    weights = conv_and_bn()
    groups = {"input_image": {}, "inner": weights, "other": {"other/kernel:0": np.zeros((2, 2))}}
    model = build()
    report = load_weights(write_matterport(tmp_path / "old.h5", groups, root, text), model)
    assert sorted(report.loaded) == ["bn", "conv"] and sorted(report.missing) == ["fc", "stem"]
    assert report.unused == ("other",)
    loaded = values(model, ("conv", "bn"))
    assert_equal(loaded, {"conv": list(weights.values())[:2], "bn": list(weights.values())[2:]})
    assert_equal(values(model, ("fc", "stem")), values(build(), ("fc", "stem")))


def test_multi_gpu_wrapper_and_optimizer_beside(tmp_path):
    """A file of Keras' `save`: the wrapped model is one group with all in it, the optimizer a group apart."""
    convolution = conv_and_bn()
    rng = np.random.default_rng(3)
    outer = {"stem/kernel:0": rng.normal(size=(3, 3, 2, 4)), "stem/bias:0": rng.normal(size=4)}
    nested = {f"inner/{name}": value for name, value in convolution.items()}
    groups = {"input_image": {}, "lambda_1": {}, "mask_rcnn": {**outer, **nested}}
    path = write_matterport(tmp_path / "gpus.h5", groups, root="model_weights")
    with h5py.File(path, "a") as file:
        optimizer = file.create_group("optimizer_weights")
        optimizer.attrs["weight_names"] = [b"training/SGD/Variable:0"]
        optimizer.create_dataset("training/SGD/Variable:0", data=np.zeros((3, 3, 2, 4)))
    model = build()
    report = load_weights(path, model)
    assert sorted(report.loaded) == ["bn", "conv", "stem"] and report.missing == ("fc",) and report.unused == ()
    expected = {"stem": list(outer.values()), "conv": list(convolution.values())[:2]}
    expected = {name: [value.astype("float32") for value in arrays] for name, arrays in expected.items()}
    assert_equal(values(model, ("stem", "conv")), expected)


@pytest.mark.parametrize("nested", [False, True])
def test_numbers_that_a_second_model_of_a_program_left_in_the_names(tmp_path, nested):
    weights = {name.replace("/", "_1/", 1): value for name, value in conv_and_bn().items()}
    groups = {"inner": weights}
    if not nested:
        split = {"conv": "conv_1/", "bn": "bn_1/"}
        groups = {k: {name: v for name, v in weights.items() if name.startswith(head)} for k, head in split.items()}
    model = build()
    report = load_weights(write_matterport(tmp_path / "second.h5", groups), model)
    assert sorted(report.loaded) == ["bn", "conv"] and report.unused == ()
    assert_equal(values(model, ["conv"]), {"conv": list(weights.values())[:2]})


def test_counts_are_returned_and_logged(tmp_path, caplog):
    groups = {"conv": dict(list(conv_and_bn().items())[:2]), "other": {"other/kernel:0": np.zeros(2)}}
    path = write_matterport(tmp_path / "part.h5", groups)
    with caplog.at_level("INFO", logger="cyclic"):
        report = load_weights(path, build(), exclude=["fc"])
    assert (len(report.loaded), len(report.missing), len(report.excluded), len(report.unused)) == (1, 2, 1, 1)
    text = "1 layers loaded, 2 not in the file, 1 excluded, 1 in the file alone"
    assert str(report) == text and f"{path}: {text}" in caplog.messages


def test_excluded_layers_stay_as_they_are(saved):
    model = build(seed=1, units=7)
    report = load_weights(saved, model, exclude=["fc", "layer without weights"])
    assert report.excluded == ("fc",)
    assert_equal(values(model, LEAVES[:3]), values(build(), LEAVES[:3]))
    assert_equal(values(model, ["fc"]), values(build(seed=1, units=7), ["fc"]))


@pytest.mark.parametrize("text", [bytes, str])
def test_lists_of_names_that_keras_cut_into_pieces(tmp_path, text):
    """Keras numbers the pieces of a list of names that is too long for one attribute."""
    weights = conv_and_bn()
    path = write_matterport(tmp_path / "long.h5", {"input_image": {}, "inner": weights, "stem": {}}, text=text)
    with h5py.File(path, "a") as file:
        for group, attribute in ((file, "layer_names"), (file["inner"], "weight_names")):
            names = list(group.attrs.pop(attribute))
            for index, piece in enumerate((names[:1], names[1:])):
                group.attrs[f"{attribute}{index}"] = piece
    model = build()
    assert sorted(load_weights(path, model).loaded) == ["bn", "conv"] and read_attributes(path) == {}
    assert_equal(values(model, ["conv"]), {"conv": list(weights.values())[:2]})


def test_a_network_of_many_long_names_comes_back(tmp_path):
    image = keras.Input((2,))
    layers = [keras.layers.Dense(1, name=f"{'long' * 50}_{index}") for index in range(400)]
    model = keras.Model(image, [layer(image) for layer in layers])
    before = [layer.get_weights()[0] for layer in layers]
    save_weights(tmp_path / "long.h5", model)
    for layer in layers:
        layer.set_weights([weight * 0 for weight in layer.get_weights()])
    assert len(load_weights(tmp_path / "long.h5", model).loaded) == 400
    np.testing.assert_array_equal([layer.get_weights()[0] for layer in layers], before)


def test_the_report_is_one_line_at_the_end_of_a_cell(saved):
    from IPython.lib.pretty import pretty

    report = load_weights(saved, build())
    text = "LoadReport(4 layers loaded, 0 not in the file, 0 excluded, 0 in the file alone)"
    assert repr(report) == pretty(report) == text


def test_a_layer_without_its_list_of_weights_is_named(tmp_path):
    path = write_matterport(tmp_path / "hole.h5", {"conv": conv_and_bn()})
    with h5py.File(path, "a") as file:
        del file["conv"].attrs["weight_names"]
    with pytest.raises(InputError, match="layer conv is incomplete"):
        load_weights(path, build())


def test_classifier_gives_its_backbone_to_mask_rcnn(tmp_path):
    class TinyConfig(Config):
        BACKBONE, NORM, NUM_CLASSES = "resnet18", "group", 2
        TOP_DOWN_PYRAMID_SIZE = RPN_CHANNELS = MASK_CHANNELS = FPN_CLASSIF_FC_LAYERS_SIZE = 8

    backbone = build_backbone("resnet18", norm="group")
    save_weights(tmp_path / "classifier.h5", build_classifier(backbone, ("C5",), hidden=4))
    network = Network(TinyConfig())
    report = load_weights(tmp_path / "classifier.h5", network)
    names = leaf_layers(backbone)
    assert set(report.loaded) == set(names) and {"fpn_c5p5", "rpn_class_raw", "mrcnn_mask"} <= set(report.missing)
    assert "head_c5_logits" in report.unused
    assert_equal(values(network, names), values(backbone, names))


# --- what goes wrong ---


def test_nan_is_refused_and_nothing_changes(tmp_path):
    bad = build()
    kernel = leaf_layers(bad)["fc"].weights[0]
    kernel.assign(np.full(kernel.shape, np.nan))
    save_weights(tmp_path / "nan.h5", bad)
    model = build(seed=1)
    with pytest.raises(InputError, match=r"nan\.h5: NaN in layer fc"):
        load_weights(tmp_path / "nan.h5", model)
    assert_equal(values(model), values(build(seed=1)))


def test_infinity_is_refused(tmp_path):
    bad = build()
    bias = leaf_layers(bad)["stem"].weights[1]
    bias.assign(np.full(bias.shape, -np.inf))
    save_weights(tmp_path / "inf.h5", bad)
    with pytest.raises(InputError, match=r"inf\.h5: infinity in layer stem"):
        load_weights(tmp_path / "inf.h5", build())


def test_one_flipped_bit_anywhere_is_named_or_changes_nothing(tmp_path, saved):
    """In the numbers, in the settings, and in the structure that HDF5 keeps between them."""
    good, rng = saved.read_bytes(), np.random.default_rng(0)
    expected, named = values(build()), 0
    with h5py.File(saved) as file:
        kernel = file["fc"]["fc/kernel:0"].id.get_offset()
    for place in [kernel, *rng.choice(len(good), 300, replace=False)]:
        content = bytearray(good)
        content[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(content)
        model = build(seed=1)
        try:
            report, attributes = load_weights(saved, model), read_attributes(saved)
        except InputError as error:
            assert str(saved) in str(error)
            named += 1
        else:
            assert report.missing or (attributes == {"epoch": 3, "note": "as written"} and not report.unused)
            assert_equal(values(model, report.loaded), {name: expected[name] for name in report.loaded})
    assert named > 50


def test_a_layer_that_was_changed_is_named_and_nothing_is_loaded(saved):
    with h5py.File(saved, "r+") as file:
        file["conv"]["conv/bias:0"][0] += 1e-3
    model = build(seed=1)
    with pytest.raises(InputError, match=r"weights\.h5: conv is not what was written there \(damaged\)"):
        load_weights(saved, model)
    assert_equal(values(model), values(build(seed=1)))
    assert load_weights(saved, model, exclude=["conv"]).loaded  # whoever leaves the layer out needs it not


def test_settings_that_were_changed_are_named(saved):
    with h5py.File(saved, "r+") as file:
        file.attrs["epoch"] = 4
    with pytest.raises(InputError, match=r"weights\.h5: its settings are not those that it was written with"):
        read_attributes(saved)


def test_arrays_beside_the_layers_are_checked_too(tmp_path):
    path = tmp_path / "checkpoint.h5"
    save_weights(path, build(), groups={"optimizer": {"momentum": np.arange(3.0), "step": np.int64(7)}})
    assert read_group(path, "optimizer")["step"] == 7 and read_group(path, "nothing") == {}
    check_group(path, "optimizer")
    with h5py.File(path, "r+") as file:
        file["optimizer"]["momentum"][1] = 5
    with pytest.raises(InputError, match=r"checkpoint\.h5: optimizer is not what was written there"):
        check_group(path, "optimizer")


def test_other_shape_names_layer_and_shapes_and_changes_nothing(saved):
    model = build(seed=1, units=7)
    with pytest.raises(
        InputError, match=r"layer fc has shapes \[\(180, 3\), \(3,\)\].*\[\(180, 7\), \(7,\)\].*exclude"
    ):
        load_weights(saved, model)
    assert_equal(values(model), values(build(seed=1, units=7)))


def test_other_number_of_weights_is_refused(tmp_path):
    path = write_matterport(tmp_path / "nobias.h5", {"conv": {"conv/kernel:0": np.zeros((3, 3, 4, 5))}})
    with pytest.raises(InputError, match="layer conv has shapes"):
        load_weights(path, build())


def test_file_of_another_network(tmp_path):
    path = write_matterport(tmp_path / "other.h5", {"a": {"a/kernel:0": np.zeros(2)}})
    with pytest.raises(InputError, match=r"other\.h5: none of its layers"):
        load_weights(path, build())


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"gone\.h5: no such weights file"):
        load_weights(tmp_path / "gone.h5", build())


def test_truncated_file(saved):
    saved.write_bytes(saved.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"weights\.h5: not a readable h5 weights file"):
        load_weights(saved, build())


def test_file_that_is_no_h5(tmp_path):
    (tmp_path / "text.h5").write_text("weights")
    with pytest.raises(InputError, match="not a readable h5"):
        read_attributes(tmp_path / "text.h5")


def test_h5_without_layer_names(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("x", data=np.zeros(3))
    with pytest.raises(InputError, match="no layer names"):
        load_weights(tmp_path / "data.h5", build())


def test_file_that_lists_a_layer_it_does_not_hold(tmp_path):
    path = write_matterport(tmp_path / "hole.h5", {"conv": conv_and_bn()})
    with h5py.File(path, "a") as file:
        del file["conv"]
    with pytest.raises(InputError, match=r"hole\.h5: .*conv"):
        load_weights(path, build())


def test_failed_save_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()
    model = build(seed=1)

    def broken(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(leaf_layers(model)["fc"].weights[0]), "numpy", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        save_weights(saved, model)
    assert saved.read_bytes() == before and [path.name for path in saved.parent.iterdir()] == ["weights.h5"]


def test_two_layers_of_one_name():
    image = keras.Input((4,))
    inner_input = keras.Input((3,))
    inner = keras.Model(inner_input, keras.layers.Dense(2, name="fc")(inner_input), name="inner")
    model = keras.Model(image, inner(keras.layers.Dense(3, name="fc")(image)))
    with pytest.raises(ValueError, match="two layers are named fc"):
        leaf_layers(model)


def test_a_layer_used_twice_is_one_layer():
    image = keras.Input((4,))
    layer = keras.layers.Dense(4, name="fc")
    assert list(leaf_layers(keras.Model(image, layer(layer(image))))) == ["fc"]


@needs_parity
def test_every_layer_of_a_saved_network_lies_where_matterport_looks_for_it(tmp_path):
    class Nuclei(Config):
        NAME, NUM_CLASSES, BACKBONE = "parity", 2, "resnet50"

    save_weights(tmp_path / "saved.h5", Network(Nuclei()))
    with h5py.File(tmp_path / "saved.h5") as file:
        groups = [name.decode() for name in file.attrs["layer_names"]]
        saved = {
            group: [[name.decode(), list(file[group][name].shape)] for name in file[group].attrs["weight_names"]]
            for group in groups
        }
    assert saved == json.loads((PARITY / "manifest.json").read_text())


@pytest.mark.parametrize("part", [False, True])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, part):
    """HDF5 itself ends a process that it could not write for, with a fault at its exit."""
    script = f"""if True:
        import resource, signal, sys, keras
        from cyclic.errors import InputError
        from cyclic.mrcnn.weights.h5 import add_part, save_weights
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256, name="fc")])
        save_weights("a.h5", model)
        save_weights("b.h5", model)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            add_part("a.h5", "part", "b.h5") if {part} else save_weights("a.h5", model)
        except (InputError, OSError) as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "File too large" in done.stdout and "Traceback" not in done.stderr, done.stderr
    assert part or ("a.h5: cannot be written" in done.stdout and "free space" in done.stdout)
    assert part or read_attributes(tmp_path / "a.h5") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]
