"""Install `cyclic` into empty environments and run it there: as wheel and sdist, with its oldest and newest packages.

Each environment is a folder of its own that goes when the script ends. `lock` writes requirements.lock of the newest.

Example:
    python scripts/install_matrix.py wheel sdist oldest newest locked
    python scripts/install_matrix.py wheel --run "cyclic demo --out demo"
"""

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS, LOCK = ROOT / "requirements.txt", ROOT / "requirements.lock"
HEADER = "# What a new environment held; pip install -r requirements.lock. Written by scripts/install_matrix.py lock.\n"
KINDS = ("wheel", "sdist", "oldest", "newest", "locked", "lock")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--run", default="cyclic doctor", help="what to run in each environment")
    options = parser.parse_args(arguments)
    failed = []
    for kind in options.kinds:
        with tempfile.TemporaryDirectory(prefix="cyclic-install-") as folder:
            try:
                _try(kind, Path(folder), shlex.split(options.run))
            except subprocess.CalledProcessError as error:
                failed.append(f"{kind}: {shlex.join(map(str, error.cmd))} ended with {error.returncode}")
    print("\n".join(failed) or f"{', '.join(options.kinds)}: installed and ran")
    return int(bool(failed))


def oldest(lines: list[str]) -> list[str]:
    """Return the lowest version of each requirement as a pin.

    >>> oldest(["numpy>=2.0,<3", "# a comment", "pillow>=11.0"])
    ['numpy==2.0', 'pillow==11.0']
    """
    found = [re.match(r"([A-Za-z0-9_.-]+)>=([^,\s]+)", line) for line in lines]
    return [f"{match[1]}=={match[2]}" for match in found if match]


def _try(kind: str, folder: Path, command: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    target: str | Path = ROOT
    if kind in ("wheel", "sdist"):
        target = _build(kind, python, folder)
    constraints: list[str | Path] = []
    if kind == "oldest":
        pins = folder / "oldest.txt"
        pins.write_text("\n".join(oldest(REQUIREMENTS.read_text().splitlines())))
        constraints = ["-c", pins]
    elif kind == "locked":
        constraints = ["-c", LOCK]
    subprocess.run([python, "-m", "pip", "install", "--quiet", target, *constraints], check=True)
    # Outside the repository, so that the installed package runs and not the one beside this script.
    subprocess.run([folder / "venv/bin" / command[0], *command[1:]], check=True, cwd=folder)
    if kind == "lock":
        freeze = [python, "-m", "pip", "freeze", "--exclude", "cyclic"]
        frozen = subprocess.run(freeze, check=True, capture_output=True, text=True)
        LOCK.write_text(HEADER + frozen.stdout)


def _build(kind: str, python: Path, folder: Path) -> Path:
    """Return the wheel, or the sdist, that was built of the repository."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", "build"], check=True)
    subprocess.run([python, "-m", "build", f"--{kind}", "--outdir", folder / "dist", ROOT], check=True)
    return next((folder / "dist").iterdir())


if __name__ == "__main__":
    sys.exit(main())
