"""What tests of the page share: a folder of synthetic tissue without any label."""

import numpy as np
import pytest

from cyclic.datasets.synthetic import draw_tissue
from cyclic.files import write_image


@pytest.fixture(scope="session")
def tissue(tmp_path_factory):
    """A plain folder of three images, 160 x 160."""
    folder = tmp_path_factory.mktemp("tissue")
    for number in range(3):
        write_image(folder / f"slide_{number}.png", draw_tissue(np.random.default_rng(number), 160)[0])
    return folder
