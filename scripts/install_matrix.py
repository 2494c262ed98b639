"""Install the wheel into empty environments and run it there: with its oldest, its newest and the locked packages.

The sdist is built of the last commit and the wheel of the sdist; both have to hold every file of the package. Each
environment is a folder of its own that goes when the script ends. `lock` writes requirements.lock of the newest.

Example:
    python scripts/install_matrix.py oldest newest --json results/install.json
    python scripts/install_matrix.py newest --run "cyclic demo --out demo"
    python scripts/install_matrix.py oldest --extras slides
    python scripts/install_matrix.py oldest --extras jax --run "KERAS_BACKEND=jax cyclic predict tissue.png --out out"
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchmark import machine

from cyclic.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS, LOCK, PROJECT = ROOT / "requirements.txt", ROOT / "requirements.lock", ROOT / "pyproject.toml"
HEADER = "# What a new environment held; pip install -r requirements.lock. Written by scripts/install_matrix.py lock.\n"
KINDS = ("oldest", "newest", "locked", "lock")
DRAW = """
import cv2, numpy
from cyclic.datasets.synthetic import draw_tissue
cv2.imwrite("tissue.png", draw_tissue(numpy.random.default_rng(0), 128)[0][..., ::-1])
"""
RUN = ("cyclic --help", "cyclic doctor", "cyclic predict tissue.png --mpp 0.25 --out predicted")


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument(
        "--run",
        action="append",
        help=f"what to run in each environment, in bash; $REPOSITORY is this one; default: {', '.join(RUN)}",
    )
    parser.add_argument("--extras", default="", help="of pyproject.toml, with commas between")
    parser.add_argument("--json", help="also write what was found to this file, beside what it holds")
    options = parser.parse_args(arguments)
    about = {"machine": machine(), "command": shlex.join(["python", "scripts/install_matrix.py", *arguments])}
    results = read_json(options.json)["results"] if options.json and Path(options.json).is_file() else {}
    failed = False
    with tempfile.TemporaryDirectory(prefix="cyclic-build-") as built:
        wheel, counts = build(Path(built))
        for kind in options.kinds:
            name = f"{kind} with {options.extras}" if options.extras else kind
            begin = time.monotonic()
            try:
                found = counts | _try(kind, wheel, options.extras, options.run or RUN) | {"went wrong": ""}
            except subprocess.CalledProcessError as error:
                found = {"went wrong": f"{shlex.join(map(str, error.cmd))} ended with {error.returncode}"}
            failed |= bool(found["went wrong"])
            print(f"{name}: {found['went wrong'] or 'installed and ran'}", flush=True)
            results[name] = found | {"wall_s": round(time.monotonic() - begin, 1)} | about
            if options.json:  # after each kind, so that a stop leaves what was found
                write_json(options.json, {"name": "install", "results": results})
    return int(failed)


def requirements() -> list[str]:
    """Return the lines of requirements.txt and those of every extra."""
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    lines = [*REQUIREMENTS.read_text().splitlines(), *(line for extra in extras.values() for line in extra)]
    return [line for line in lines if line and not line.startswith(("#", "cyclic["))]


def oldest(lines: list[str]) -> list[str]:
    """Return the lowest version of each requirement as a pin.

    >>> oldest(["numpy>=2.0,<3", "pillow>=11.0"])
    ['numpy==2.0', 'pillow==11.0']
    """
    found = [re.match(r"([A-Za-z0-9_.-]+)>=([^,\s]+)", line) for line in lines]
    return sorted({f"{match[1]}=={match[2]}" for match in found if match})


def missing(archive: Path, wanted: Sequence[str]) -> list[str]:
    """Return which files a wheel or an sdist lacks; paths begin at the repository."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            held = set(wheel.namelist())
    else:
        with tarfile.open(archive) as sdist:
            held = {name.partition("/")[2] for name in sdist.getnames()}
    return sorted({*wanted} - held)


def build(folder: Path) -> tuple[Path, dict]:
    """Build the sdist of the last commit, and the wheel of it; return the wheel and counts.

    Raises:
        SystemExit: one of them lacks a file of the package.
    """
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "build"], check=True)
    # Not in the repository: setuptools takes into an sdist what an earlier cyclic.egg-info lists.
    subprocess.run(["git", "archive", "--output", folder / "source.tar", "HEAD"], cwd=ROOT, check=True)
    source = folder / "source"
    with tarfile.open(folder / "source.tar") as archive:
        archive.extractall(source, filter="data")
    call = [python, "-m", "build", "--outdir", folder / "dist", source]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    wanted = [str(path.relative_to(source)) for path in (source / "cyclic").rglob("*") if path.is_file()]
    for made in (folder / "dist").iterdir():
        if lost := missing(made, wanted):
            raise SystemExit(f"{made.name} lacks {', '.join(lost)}; see package-data in pyproject.toml")
    return next((folder / "dist").glob("*.whl")), {"files in wheel and sdist": len(wanted)}


def _try(kind: str, wheel: Path, extras: str, commands: Sequence[str]) -> dict:
    """Install the wheel into an empty environment, run the commands there, and return its packages."""
    with tempfile.TemporaryDirectory(prefix="cyclic-install-") as place:
        folder = Path(place)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [folder / "venv/bin/python", "-m", "pip"]
        target = f"{wheel}[{extras}]" if extras else str(wheel)
        subprocess.run([*pip, "install", "--quiet", target, *_constraints(kind, folder)], check=True)
        # Outside the repository, so that the installed package runs and not the one beside this script.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["PATH"] = os.pathsep.join([str(folder / "venv/bin"), os.environ["PATH"]])
        environment["REPOSITORY"] = str(ROOT)
        for command in (shlex.join(["python", "-c", DRAW]), *commands):
            subprocess.run(["bash", "-c", command], check=True, cwd=folder, env=environment)
        freeze = [*pip, "freeze", "--exclude", "cyclic"]
        frozen = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout
    if kind == "lock":
        LOCK.write_text(HEADER + frozen)
    return {"ran": list(commands), "as locked": HEADER + frozen == LOCK.read_text(), "packages": frozen.split()}


def _constraints(kind: str, folder: Path) -> list[str | Path]:
    if kind == "oldest":
        pins = folder / "oldest.txt"
        pins.write_text("\n".join(oldest(requirements())))
        return ["-c", pins]
    return ["-c", LOCK] if kind == "locked" else []


if __name__ == "__main__":
    sys.exit(main())
