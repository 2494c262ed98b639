"""The pages: their code runs, their commands exist, their links lead somewhere, and their sentences are short."""

import doctest
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from test_house import HOUSE, MODULES, room

from cyclic import cli
from cyclic.config import RunConfig, load_config
from cyclic.files import write_image
from cyclic.networks import Models

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKING = [*PAGES, *sorted(ROOT.glob("samples/*/README.md")), *sorted(ROOT.glob("[rs]*/README.md"))]
COMMANDS = typer.main.get_command(cli.app)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def script(path):
    """Return the module of a script that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def each_page(function):
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())(function)


def fenced_commands(page):
    """Return the arguments of each `cyclic` command in the code blocks of a page, without its comment."""
    lines = [line for language, code in FENCE.findall(page.read_text()) if not language for line in code.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("cyclic ")]


def inline_commands(page):
    """Return the arguments of each `cyclic` command in the text of a page."""
    return [shlex.split(code)[1:] for code in re.findall(r"`(cyclic [^`]*)`", FENCE.sub("", page.read_text()))]


def parsed(arguments):
    """Return the command, the options given and what is left; an unknown command or option raises UsageError."""
    name, *rest = arguments
    command = COMMANDS.commands[name]
    options, left, _ = command.make_parser(command.context_class(command)).parse_args(rest)
    return command, {key for key, value in options.items() if value is not None}, left


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with the weights file that README names, of a tiny model."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "cyclic-demo/run").mkdir(parents=True)
    tiny = ("mask_rcnn.width=[16, 16, 16, 16]", "detection.max_instances=8", "detection.proposals=16", "scale=1")
    Models(load_config((), (*tiny, "detection.tile=64", "detection.overlap=16"))).save_mask_rcnn(
        folder / "cyclic-demo/run/best.weights.h5"
    )
    return folder


def test_python_of_readme_runs(weights, monkeypatch):
    monkeypatch.chdir(weights)
    blocks = [code for language, code in FENCE.findall(README.read_text()) if language == "python"]
    image, truth = np.full((64, 80, 3), 200, np.uint8), np.zeros((64, 80), np.int32)
    truth[10:20, 10:20] = 1
    names = {"image": image, "truth": truth}
    for block in blocks:
        exec(block, names)
    assert blocks and names["prediction"].labels.shape == truth.shape and "aji" in names["scores"]


@each_page
def test_commands_parse(page):
    for arguments in [*fenced_commands(page), *inline_commands(page)]:
        parsed(arguments)


def test_commands_of_readme_are_complete():
    commands = fenced_commands(README)
    for arguments in commands:
        command, given, left = parsed(arguments)
        required = {parameter.name for parameter in command.params if parameter.required}
        assert required <= given and left == [], arguments
    assert {arguments[0] for arguments in commands} == {"demo", "predict", "label", "tiles", "train"}


@each_page
def test_settings_that_a_page_sets_exist(page):
    for arguments in [*fenced_commands(page), *inline_commands(page)]:
        given = [value for option, value in zip(arguments, arguments[1:], strict=False) if option == "--set"]
        # SEED stands for a number, section.key=value for any setting.
        load_config((), [value.replace("SEED", "0") for value in given if not value.startswith("section.")])


def anchors(page):
    """Return what a link may name behind `#`: the headings of a page in small letters, with dashes for spaces."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    missing = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            missing.append(link)
    assert missing == []


@each_page
def test_sentences_are_short(page):
    assert script(ROOT / "studies/prose.py").check(page)


def test_readme_is_short_and_its_picture_small():
    assert len(README.read_text().splitlines()) <= 120
    assert (ROOT / "docs/picture.png").stat().st_size < 150_000


def test_figures_of_readme_are_those_of_the_results():
    cells = [[cell.strip() for cell in line.split("|")] for line in README.read_text().splitlines()]
    figures = [" | ".join(row[3:6]) for row in cells if len(row) == 8 and row[3].startswith("0.")]
    results = (ROOT / "docs/results.md").read_text()
    assert len(figures) == 8 and [row for row in figures if row not in results] == []


def test_settings_page_is_what_the_script_writes():
    make_settings = script(ROOT / "scripts/make_settings.py")
    assert doctest.testmod(make_settings).failed == 0
    assert (ROOT / "docs/settings.md").read_text() == make_settings.page(), "run python scripts/make_settings.py"


def test_settings_page_has_every_key():
    text = (ROOT / "docs/settings.md").read_text()
    for name, value in RunConfig().model_dump().items():
        keys = [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]
        assert all(f"| `{key}` |" in text for key in keys)


def test_architecture_names_every_room_from_top_to_bottom():
    text = (ROOT / "docs/architecture.md").read_text()
    told = [name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)]
    rooms = {room(name) for name in MODULES}
    assert told == [name for name in HOUSE if name in rooms and name != "mrcnn"]


def test_the_picture_shows_tiles_that_do_not_overlap(tmp_path):
    readme_picture = script(ROOT / "studies/readme_picture.py")
    tile = np.zeros((8, 8, 3), np.uint8)
    for name in ("positive/a_0_0", "positive/a_4_4", "positive/b_0_0", "negative/a_0_20", "negative/unnamed"):
        write_image(tmp_path / f"{name}.png", tile)
    tiles = readme_picture.tiles_of(tmp_path, "a")
    assert tiles == [(0, 20, 8, "negative"), (0, 0, 8, "positive")]
    drawn = readme_picture.draw_tiles(np.full((30, 30, 3), 255, np.uint8), tiles)
    assert {tuple(colour) for colour in readme_picture.TILE_COLOURS.values()} < set(map(tuple, drawn.reshape(-1, 3)))


def test_every_extra_has_code_that_uses_it():
    """`dev` is what the tests use; the notebooks are opened with what `notebooks` installs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    code = "\n".join(path.read_text() for path in MODULES.values())
    for name in sorted({*extras} - {"dev", "notebooks"}):
        for package in (re.match(r"\w+", requirement).group() for requirement in extras[name]):
            pattern = rf"(import|from) {package}\b|(find_spec|require)\(\"{package}\""
            assert re.search(pattern, code), package
    assert "notebooks" not in extras or list((ROOT / "samples").rglob("*.ipynb"))


@pytest.mark.parametrize("name", ["limits", "paper"])
def test_every_test_that_a_page_names_is_there(name):
    named = re.findall(r"`([\w/]*test_\w+\.py)`", (ROOT / f"docs/{name}.md").read_text())
    assert named and [name for name in named if not (ROOT / "tests" / name).is_file()] == []
