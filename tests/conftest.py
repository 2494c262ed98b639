"""What every test shares: a quiet default backend, a bounded hypothesis, and the folder of shared data."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

# Before any test module imports Keras, which reads these once.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import pytest

from cyclic.datasets.augment import load_imgaug
from cyclic.errors import InputError

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

# No deadline: the first example of a test often pays for tracing or compiling a function.
hypothesis.settings.register_profile("local", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("jax", deadline=None, max_examples=10, derandomize=True)
# JAX compiles each operation anew for each shape.
ON_JAX = os.environ["KERAS_BACKEND"] == "jax"
hypothesis.settings.load_profile("jax" if ON_JAX else "ci" if os.environ.get("CI") else "local")


# Rooms whose tests hold on every backend: `KERAS_BACKEND=jax python -m pytest -m backends`.
BACKENDS = (
    "mrcnn/geometry",
    "mrcnn/kernels",
    "mrcnn/layers/test_anchor_layer.py",
    "mrcnn/layers/test_losses.py",
    "mrcnn/layers/test_roi_align.py",
    "mrcnn/layers/test_roi_targets.py",
    "test_fitting.py",
)


# Each takes minutes in one worker: begun last, it would leave the other one without work.
LONG = (
    "samples/test_notebooks.py", "cycle/test_real_run.py", "cycle/test_loop.py", "test_cli.py", "test_soak.py",
    "cycle/test_paper_run.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Mark the tests that every backend has to pass, and put the longest files first."""
    first = {Path(__file__).parent / place: -number for number, place in enumerate(reversed(LONG), 1)}
    items.sort(key=lambda item: first.get(item.path, 0))
    places = [Path(__file__).parent / place for place in BACKENDS]
    for item in items:
        if any(item.path.is_relative_to(place) for place in places):
            item.add_marker(pytest.mark.backends)


def pytest_configure(config):
    """Where workers run the tests, import imgaug in the process that collects their warnings.

    pytest-xdist imports the module of a warning's class there, and a plain `import imgaug` fails on NumPy 2.
    """
    if config.getoption("numprocesses", None):
        with contextlib.suppress(InputError):
            load_imgaug()


@pytest.fixture(autouse=True)
def usual_number_format():
    """Let every test begin with Keras' own number format: a run sets that of its settings for the whole process."""
    _use_float32()  # a fixture of the whole module may have loaded a model
    yield
    _use_float32()


def _use_float32():
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the repository, which holds real images; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED}: it holds the real images this test reads")
    return SHARED


# The smallest real run: every network, two cycles, seconds of training.
TINY = {
    "cycles": 2,
    "tiles": {"size": 32, "stride": 24},
    "classifier": {"steps": 3, "later_steps": 2, "batch": 4},
    "mask_rcnn": {
        "width": [32, 32, 32, 32], "crop": 64, "batch": 1, "steps": 2, "later_steps": 2, "rpn_anchors": 32, "rois": 8,
        "proposals": 32,
    },
    # What so short a training finds is small and has holes, how small differs from processor to processor.
    "detection": {
        "tile": 64, "overlap": 16, "batch": 4, "proposals": 32, "max_instances": 16, "min_area": 1,
        "mask_threshold": 0.5,
    },
}  # fmt: skip


# Seconds after which a process is taken to hang: no measure of speed, a loaded machine may be ten times slower.
HANGS_AFTER = 1200


@pytest.fixture(scope="session")
def command():
    """Run `cyclic` with these arguments in a process of its own: `(exit code, stdout, stderr)`."""

    def run(*arguments, timeout=HANGS_AFTER):
        call = [sys.executable, "-m", "cyclic.cli", *map(str, arguments)]
        done = subprocess.run(call, capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, command, request):
    """A real run by `cyclic train`, killed in the middle and resumed: `.data`, `.run`, `.config`, `.stdout`, `.killed`.

    `killed` are the stages that had ended when the process was killed. The first worker that asks makes the run, and
    the others read it.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if hasattr(request.config, "workerinput") else base) / "tiny"
    root.mkdir(exist_ok=True)
    made = root / "made.json"
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_file():
            made.write_text(json.dumps(_make_tiny_run(root, command)))
    stdout, stderr, killed = json.loads(made.read_text())
    return SimpleNamespace(
        data=root / "data", run=root / "run", config=root / "tiny.yaml", stdout=stdout, stderr=stderr, killed=killed
    )


def _make_tiny_run(root, command):
    from cyclic.datasets.synthetic import write_tissue_set

    data, run, config = root / "data", root / "run", root / "tiny.yaml"
    write_tissue_set(data, 2, 1, size=128)
    config.write_text(json.dumps(TINY))  # JSON is YAML
    arguments = ["train", "--config", config, "--data", data, "--out", run]
    process = subprocess.Popen([sys.executable, "-m", "cyclic.cli", *map(str, arguments)], stderr=subprocess.PIPE)
    log, end = run / "log.jsonl", time.monotonic() + HANGS_AFTER
    while not (log.exists() and '"stage_start", "stage": "cycle_1/round_0/train"' in log.read_text()):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end, "the run did not come to training Mask R-CNN"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = json.loads((run / "state.json").read_text())["finished"]
    code, stdout, stderr = command(*arguments, "--resume")
    assert code == 0, stderr
    return stdout, stderr, killed


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """`images/` and `labels/` of synthetic tissue, and `a.h5`, a tiny network that learnt nothing. Read only."""
    from cyclic.config import RunConfig
    from cyclic.datasets.synthetic import write_tissue_set
    from cyclic.networks import Models

    root = tmp_path_factory.mktemp("untrained")
    write_tissue_set(root, 2, 1, size=96)
    Models(RunConfig.model_validate(TINY)).save_mask_rcnn(root / "a.h5")
    return root


@pytest.fixture(scope="session")
def fake_run(tmp_path_factory):
    """A run that looks finished, on synthetic tissue: `.run`, `.data`. Read only."""
    root = tmp_path_factory.mktemp("fake")
    from drawn_run import write_run

    from cyclic.datasets.synthetic import write_tissue_set

    write_tissue_set(root / "data", n_train=2, n_val=3, size=192)
    write_run(root / "run", root / "data")
    return SimpleNamespace(run=root / "run", data=root / "data")
