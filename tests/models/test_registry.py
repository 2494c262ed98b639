"""Models by name: what is listed, where the weights come from, and that nothing unchecked is loaded."""

import functools
import http.server
import json
import threading

import pytest

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import digest
from cyclic.inference.predictor import Predictor
from cyclic.models import registry
from cyclic.models.card import make_card, read_card
from cyclic.models.registry import add, card_of, fetch, find, models, weights_file
from cyclic.networks import Models

TINY = ("mask_rcnn.width=[16, 16, 16, 16]", "detection.max_instances=8", "detection.proposals=16", "scale=1",
        "detection.tile=64", "detection.overlap=16", "mpp=0.5")  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights file of a tiny model."""
    path = tmp_path_factory.mktemp("weights") / "best.weights.h5"
    Models(load_config((), TINY)).save_mask_rcnn(path)
    return path


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    """A user's folders of their own, and a package that ships nothing."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "SHIPPED", tmp_path / "shipped")
    return tmp_path


@pytest.fixture
def address(weights):
    """The folder of the weights on a server of this machine."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(weights.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{weights.name}"
        server.shutdown()


def test_a_model_of_a_users_own_is_loaded_by_its_name(weights, homes):
    assert models() == {}
    add(card_of(str(weights), "lab", "CC BY 4.0", None, None))
    card = read_card(homes / "data/cyclic/models/lab.json")
    assert (card.mpp, card.licence, card.sha256) == (0.5, "CC BY 4.0", digest(weights))
    assert Predictor.load("lab").config.mpp == 0.5
    assert weights_file("lab") == weights and models()["lab"].place == "registered"


def test_a_file_that_changed_is_not_loaded(weights, homes):
    copy = homes / "copy.h5"
    copy.write_bytes(weights.read_bytes())
    add(card_of(str(copy), "lab", "own", None, None))
    copy.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"copy.h5: not the file that was registered as lab"):
        weights_file("lab")
    copy.unlink()
    with pytest.raises(InputError, match=r"copy.h5: no such file"):
        weights_file("lab")


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_download_is_checked_and_kept(weights, address, homes, scheme):
    source = address if scheme == "http" else weights.as_uri()
    model = add(card_of(source, "far", "MIT", digest(weights), 0.25))
    assert model.place == "to download"
    path = fetch(model)
    assert path.read_bytes() == weights.read_bytes() and path.is_relative_to(homes / "cache")
    assert model.place == "downloaded" and fetch(find("far")) == path
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="not the file of .*SHA256 is not"):
        fetch(model)


def test_a_download_of_something_else_leaves_nothing(weights, address, homes):
    model = add(card_of(address, "far", "MIT", "0" * 64, None))
    with pytest.raises(InputError, match="the download is damaged"):
        fetch(model)
    assert not any(path.is_file() for path in (homes / "cache").rglob("*"))


def test_the_shipped_model_is_the_default(weights, homes):
    with pytest.raises(InputError, match="this version ships no model yet; give --weights FILE, or the name"):
        weights_file(None)
    shipped = homes / "shipped"
    shipped.mkdir()
    (shipped / "he.h5").write_bytes(weights.read_bytes())
    card = make_card(name="he", source="he.h5", sha256=digest(weights), licence="CC BY-NC-SA 4.0", mpp=0.25)
    (shipped / "he.json").write_text(card.as_json())
    assert weights_file(None) == shipped / "he.h5" == weights_file("he") and models()["he"].place == "shipped"
    with pytest.raises(InputError, match="he: a model of this name is there already"):
        add(card_of(str(weights), "he", "own", None, None))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("he-nucleii", "he-nucleii: no model of this name; did you mean he-nuclei?"),
        ("zzz", "zzz: no model of this name; cyclic models list shows those"),
        ("nowhere.h5", "nowhere.h5: no such weights file; check the path"),
        ("runs/none", "runs/none: no such weights file; check the path"),
    ],
)
def test_what_is_neither_a_file_nor_a_name_is_refused(weights, asked, message):
    add(card_of(str(weights), "he-nuclei", "own", None, None))
    with pytest.raises(InputError, match=message):
        weights_file(asked)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "../up"}, "name = '../up'"),
        ({"sha256": "12"}, "sha256 = '12'"),
        ({"mpp": 0}, "mpp = 0"),
        ({"licence": ""}, "licence = ''"),
        ({"licens": "MIT"}, "licens = 'MIT'"),
    ],
)
def test_a_card_with_a_wrong_field_is_named(homes, fields, message):
    good = {"name": "a", "source": "a.h5", "sha256": "0" * 64, "licence": "MIT"}
    with pytest.raises(InputError, match=message):
        make_card(**{**good, **fields})
    path = homes / "data/cyclic/models/a.json"
    path.parent.mkdir(parents=True)
    for content in (json.dumps({**good, **fields}), "[]", "{"):
        path.write_text(content)
        with pytest.raises(InputError, match=r"a\.json: "):
            models()


def test_an_address_needs_a_checksum_and_a_file_has_to_be_weights(homes, weights):
    with pytest.raises(InputError, match="an address needs --sha256"):
        card_of("https://example.org/w.h5", "a", "MIT", None, None)
    (homes / "a.h5").write_text("x")
    with pytest.raises(InputError, match="a.h5: not a readable h5 weights file"):
        card_of(str(homes / "a.h5"), "a", "MIT", None, None)
    with pytest.raises(InputError, match="not the file that was registered"):
        add(card_of(str(weights), "a", "MIT", "0" * 64, None))
