"""The run configuration: defaults, overrides, and what is refused and how."""

import pathlib

import pytest
import yaml

from cyclic.config import RunConfig, load_config, validate
from cyclic.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_defaults_are_valid_and_survive_yaml(tmp_path):
    config = load_config()
    assert config == RunConfig()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("path", sorted([*(ROOT / "configs").glob("*.yaml"), ROOT / "cyclic" / "demo.yaml"]))
def test_shipped_configurations_are_valid(path):
    load_config(path)


@pytest.mark.parametrize(
    ("name", "kind", "own"),
    [
        ("ccrcc", "", {("detection", "tile")}),
        ("ccrcc", "_cpu", {("detection", "tile"), ("detection", "usual_area")}),
        ("consep", "", {("mean_pixel", None)}),
        ("consep", "_cpu", {("mean_pixel", None), ("detection", "usual_area"), ("pseudo", "max_area")}),
    ],
)
def test_data_sets_share_one_schedule_but_for_what_their_images_ask_for(name, kind, own):
    """YAML has no way to include a file, so the schedule is written down for each."""

    def flat(which):
        content = load_config(ROOT / "configs" / f"{which}{kind}.yaml").model_dump()
        sections = {name: value if isinstance(value, dict) else {None: value} for name, value in content.items()}
        return {(section, key): value for section, values in sections.items() for key, value in values.items()}

    first, second = flat("monusac"), flat(name)
    assert {key for key in first if first[key] != second[key]} == own


def test_override_beats_file_beats_default(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("segmenter:\n  steps: 10\n  batch: 3\n")
    config = load_config(path, ("segmenter.steps=20", "classifier.levels=[C3, C5]", "backbone.weights=null"))
    assert config.segmenter.steps == 20 and config.segmenter.batch == 3
    assert config.segmenter.later_steps == RunConfig().segmenter.later_steps
    assert config.classifier.levels == ["C3", "C5"] and config.backbone.weights is None


def test_a_file_that_sets_nothing_means_defaults_but_an_empty_one_was_lost(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("# nothing\n")
    assert load_config(path) == RunConfig()
    for text in ("", " \n"):
        path.write_text(text)
        with pytest.raises(InputError, match="config.yaml: empty; write the file again"):
            load_config(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pseudo.threshold=1.5", "pseudo.threshold = 1.5: Input should be less than or equal to 1"),
        ("pseudo.threshold=-0.1", "pseudo.threshold = -0.1"),
        ("rounds.score=2", "rounds.score = 2"),
        ("cycles=0", "cycles = 0"),
        ("classifier.levels=[C9]", "classifier.levels.0 = 'C9'"),
        ("pseudo.factors=[]", "pseudo.factors"),
        ("seed=many", "seed = 'many'"),
        ("segmenter.step=3", "unknown key segmenter.step; did you mean segmenter.steps?"),
        ("segmentor.steps=3", "unknown key segmentor; did you mean segmenter?"),
        ("steps=3", "unknown key steps; did you mean classifier.steps or segmenter.steps?"),
        ("detection.cycles_of=3", "unknown key detection.cycles_of; valid keys: tile, overlap"),
        ("segmenter.steps", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("segmenter.steps.more=3", "segmenter.steps"),
        ("segmenter.steps=[", "not valid YAML"),
        ("detection.overlap=256", "detection.overlap has to be smaller than detection.tile"),
        ("maps.overlap=300", "maps.overlap has to be smaller"),
        ("maps.tile=250", "maps.tile times scale has to be divisible by 32"),
        ("segmenter.crop=200", "segmenter.crop has to be divisible by 64"),
        ("maps.level=C4", "maps.level has to be one of classifier.levels"),
        ("rounds.ignore_score=0.9", "rounds.ignore_score must not exceed rounds.score"),
        ("tiles.min_coverage=0", "tiles.max_coverage_negative has to be smaller"),
    ],
)
def test_wrong_override_is_named_in_one_line(override, message):
    with pytest.raises(InputError) as error:
        load_config(None, (override,))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("segmenter: {steps: 0}", "segmenter.steps = 0"),
        ("a: [", "not valid YAML"),
        ("- a\n- b", "a mapping of keys"),
        ("segmenter:", "segmenter = None"),
    ],
)
def test_wrong_file_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{path}") as error:
        load_config(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_file():
    with pytest.raises(InputError, match="nowhere.yaml: no such configuration file"):
        load_config("nowhere.yaml")


def test_binary_file(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(tmp_path / "config.yaml")


def test_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3


def test_validate_names_its_source():
    with pytest.raises(InputError, match="^run.h5: cycles"):
        validate({"cycles": "two"}, "run.h5")
