"""The file of doubted answers."""

from pathlib import Path

import numpy as np
import pytest

from cyclic.datasets.doubted_answers import read_doubted, write_doubted
from cyclic.datasets.tile_folder import TileFolder
from cyclic.errors import InputError


def test_what_is_written_is_read(tmp_path):
    tiles = TileFolder([Path("tiles/positive/a_0_48.png"), Path("tiles/negative/b_4_8.png")], np.array([1, 0]))
    write_doubted(tmp_path / "doubted.json", tiles, 90)
    assert read_doubted(tmp_path / "doubted.json") == {"yes": {"a_0_48"}, "no": {"b_4_8"}}


def test_a_run_without_the_file_doubts_nothing(tmp_path):
    assert read_doubted(tmp_path / "doubted.json") == {"yes": set(), "no": set()}


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"doubted": [{"tile": "a"}]}',
        '{"doubted": [{"tile": "a", "answer": "?"}]}',
        '{"doubted": [{"tile": 5, "answer": "no"}]}',
    ],
)
def test_another_file_is_named(tmp_path, content):
    path = tmp_path / "doubted.json"
    path.write_text(content)
    with pytest.raises(InputError, match="doubted.json: not what a run wrote; cyclic train --resume"):
        read_doubted(path)
