"""The notebooks of all data sets, run top to bottom in one kernel on a tiny run."""

import json
import pathlib
import runpy
import shutil
import sys

import nbformat
import pytest
import scipy.io
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from cyclic.datasets.layouts import open_splits
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.files import write_image, write_json

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA_SETS = ("monusac", "ccrcc", "consep")
KINDS = ("inspect_data", "inspect_pseudo_masks", "inspect_model")
# The smallest run that has everything the notebooks look at. Tracing networks is what takes time: there is one cycle, a
# tile of detection is as large as a crop of training, and all maps take one window.
RUN = {
    "cycles": 1,
    "tiles": {"size": 32, "stride": 24},
    "classifier": {"steps": 2, "batch": 4},
    "maps": {"tile": 112, "overlap": 16},
    "segmenter": {
        "crop": 64, "batch": 1, "steps": 2, "warmup": 0, "rpn_anchors": 32, "rois": 8, "proposals": 32,
        "max_instances": 16, "pyramid_channels": 32, "rpn_channels": 32, "mask_channels": 32, "fc_size": 32,
    },
    "rounds": {"students": 0},
    "detection": {"tile": 32, "overlap": 8, "proposals": 32, "max_instances": 16, "score": 0.3},
}  # fmt: skip
HANGS_AFTER = 900  # seconds
# Pictures that a notebook shows at least.
PICTURES = {"inspect_data": 6, "inspect_pseudo_masks": 8, "inspect_model": 8}


def as_layout(data, root, name):
    """Write the images of the project's layout anew in that of another data set."""
    key = {"ccrcc": "instance_map", "consep": "inst_map"}[name]
    folders = {"ccrcc": ("Train", "Valid"), "consep": ("Train", "Train")}[name]
    for folder, dataset in zip(folders, open_splits(data), strict=True):
        for image_id in dataset.ids:
            write_image(root / folder / "Images" / f"{image_id}.png", dataset.image(image_id))
            (root / folder / "Labels").mkdir(exist_ok=True)
            labels = dataset.label_map(image_id)
            content = {key: labels, "class_map": 1 + labels % 2}
            scipy.io.savemat(root / folder / "Labels" / f"{image_id}.mat", content)
    if name == "consep":
        write_json(root / "split.json", json.loads((data / "split.json").read_text()))


@pytest.fixture(scope="module")
def kernel():
    """One kernel for the run and all notebooks, so TensorFlow starts once: `execute(notebook)`."""
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    yield lambda notebook: NotebookClient(notebook, km=manager, timeout=HANGS_AFTER).execute()
    if manager.has_kernel:
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def start(kernel):
    """What is printed when the helpers of the notebooks are imported, and TensorFlow with them."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import cyclic.inspect")])
    kernel(notebook)
    return notebook.cells[0].outputs


@pytest.fixture(scope="module")
def places(kernel, start, tmp_path_factory):
    """`{data set: (data, run)}`: a run of one cycle, each time on the same images in another layout."""
    root = tmp_path_factory.mktemp("notebooks")
    found = {name: (root / name / "data", root / name / "run") for name in DATA_SETS}
    data, run = found["monusac"]
    write_tissue_set(data, 2, 1, size=96)
    training = [
        "from cyclic import config",
        "from cyclic.cycle import loop",
        f"loop.train(config.validate({RUN!r}, 'test'), {str(data)!r}, {str(run)!r})",
    ]
    kernel(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(training))]))
    for name in ("ccrcc", "consep"):
        as_layout(data, found[name][0], name)
        shutil.copytree(run, found[name][1])
        with (found[name][1] / "log.jsonl").open("a") as log:
            log.write(json.dumps({"event": "data", "folder": str(found[name][0])}) + "\n")
    return found


def read(name, kind):
    return nbformat.read(ROOT / "samples" / name / f"{kind}.ipynb", as_version=4)


def test_tensorflow_starts_without_a_word(start):
    assert start == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DATA_SETS)
def test_notebook_runs_from_top_to_bottom(name, kind, places, kernel):
    notebook = read(name, kind)
    data, run = map(str, places[name])
    start = [
        "%reset -f",
        "import os, matplotlib",
        f"os.environ.update(CYCLIC_DATA={data!r}, CYCLIC_RUN={run!r})",
        "matplotlib.rcParams['figure.dpi'] = 40",  # nobody looks at these pictures
    ]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("\n".join(start)))
    kernel(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= PICTURES[kind]
    assert any("<table>" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    text = "".join(output.get("text", "") for output in outputs)
    if kind == "inspect_data":
        assert {"monusac": "Monusac", "ccrcc": "Ccrcc", "consep": "Consep"}[name] + "Dataset: 2 training" in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DATA_SETS)
def test_committed_notebooks_are_those_of_the_templates_and_hold_no_output(name, kind, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import make_notebooks

    found = read(name, kind)
    assert found == make_notebooks.notebook(ROOT / "samples" / "templates" / f"{kind}.py", name)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in found.cells)


@pytest.mark.parametrize("name", DATA_SETS)
def test_training_program_reads_its_own_configuration(name, program, tmp_path):
    arguments = ("--data", tmp_path, "--out", tmp_path / "run")
    # The message names the configuration that was read.
    assert_refused(program(name, *arguments, "--set", "classifier.stepz=1"), f"configs/{name}.yaml", "stepz")
    (tmp_path / "mine.yaml").write_text("cycles: 0\n")
    assert_refused(program(name, *arguments, "--config", tmp_path / "mine.yaml"), "mine.yaml", "cycles")


@pytest.fixture
def program(monkeypatch, capsys):
    """Run the `train.py` of a data set in this process: `(exit code, stderr)`."""

    def run(name, *arguments):
        path = ROOT / "samples" / name / "train.py"
        monkeypatch.setattr(sys, "argv", list(map(str, (path, *arguments))))
        monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(path), run_name="__main__")
        return end.value.code, capsys.readouterr().err

    return run


def assert_refused(result, *parts):
    code, err = result
    assert code == 2 and all(part in err for part in parts), err


def test_one_path_is_set_first():
    for name in DATA_SETS:
        for kind in KINDS:
            first = next(cell for cell in read(name, kind).cells if cell.cell_type == "code")
            assert first.source.splitlines()[-1].startswith(("DATA = ", "RUN = "))
