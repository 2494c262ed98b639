"""What this installation is made of: versions, devices, memory, number format, and what is missing with its cure."""

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from cyclic.config import RunConfig

# Needed by no command, and installed by a command of its own: see requirements.txt.
IMGAUG = "pip install --no-deps imgaug==0.4.0"
# The package whose devices a Keras backend computes on.
BACKENDS = ("tensorflow", "jax", "torch")
# Less free memory (GiB) than training with the default settings takes, and less disk (GiB) than a run writes.
LITTLE_MEMORY, LITTLE_DISK = 4, 2


class Finding(NamedTuple):
    """One line of the examination.

    Attributes:
        what: what was looked at.
        found: what was found.
        cure: what to do, "" where nothing needs to be done.
        needed: whether `cyclic` cannot work without it.
    """

    what: str
    found: str
    cure: str = ""
    needed: bool = False


def examine() -> list[Finding]:
    """Look at this installation and this machine. It imports Keras where that can be imported."""
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    findings = [Finding("Python", platform.python_version()), Finding("system", system)]
    packages = list(_packages())
    if any(finding.needed and finding.cure for finding in packages):
        return [*findings, *_memory(), *packages]
    return [*findings, *_backend(), *_memory(), *packages]


def _packages() -> Iterator[Finding]:
    """Yield each package that `cyclic` asks for, the needed ones first."""
    wanted = [Requirement(line) for line in importlib.metadata.requires("cyclic") or ()]
    for requirement in wanted:
        if requirement.marker is None:
            yield _package(requirement, needed=True)
    for requirement in wanted:
        extra = str(requirement.marker).partition("extra == ")[2].strip("\"'")
        if extra and extra != "dev":
            yield _package(requirement, needed=False)
    yield _package(Requirement("imgaug==0.4.0"), needed=False, cure=IMGAUG)


def _package(requirement: Requirement, needed: bool, cure: str = "") -> Finding:
    cure = cure or f'pip install "{requirement.name}{requirement.specifier}"'
    name = f"{requirement.name} {requirement.specifier}" if needed else f"{requirement.name} (optional)"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", cure, needed)
    fits = requirement.specifier.contains(version, prereleases=True)
    return Finding(name, version, "" if fits else cure, needed)


def _backend() -> Iterator[Finding]:
    """Yield the backend, its devices and the number format that `precision: auto` takes here."""
    try:
        import keras

        from cyclic.networks import precision
    except (ImportError, ValueError) as error:  # Keras' own word for a backend that it does not know
        asked = os.environ.get("KERAS_BACKEND", "tensorflow")
        cure = f"pip install {asked}" if asked in BACKENDS else "unset KERAS_BACKEND"
        yield Finding("backend", f"{asked} cannot be imported ({error})", cure, needed=True)
        return
    backend = keras.backend.backend()
    yield Finding("backend", f"Keras {keras.__version__} on {backend} {importlib.metadata.version(backend)}")
    devices = _devices(backend)
    yield Finding("devices", f"{os.cpu_count()} cores; " + (", ".join(devices) or "no GPU that the backend sees"))
    chosen = precision(RunConfig())
    has = "has" if "bfloat16" in chosen else "lacks"
    yield Finding("precision auto", f"{chosen}: the processor {has} instructions for bfloat16")


def _devices(backend: str) -> list[str]:
    """Return the names of the accelerators that a backend sees."""
    module = importlib.import_module(backend)
    if backend == "tensorflow":
        details = module.config.experimental.get_device_details
        return [str(details(gpu).get("device_name", "GPU")) for gpu in module.config.list_physical_devices("GPU")]
    if backend == "jax":
        return [str(device.device_kind) for device in module.devices() if device.platform != "cpu"]
    return [module.cuda.get_device_name(number) for number in range(module.cuda.device_count())]


def _memory() -> Iterator[Finding]:
    total, free = _memory_gib()
    cure = "close other programs, or lower mask_rcnn.batch and detection.tile" if free < LITTLE_MEMORY else ""
    yield Finding("memory", f"{free:.1f} of {total:.1f} GiB free", cure)
    disk = shutil.disk_usage(".").free / 2**30
    yield Finding("disk", f"{disk:.1f} GiB free here", "free space" if disk < LITTLE_DISK else "")


def _memory_gib() -> tuple[float, float]:
    """Return all and free memory in GiB; where the system does not tell what is free, all of it."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES") / 2**30
    told = Path("/proc/meminfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    available = [int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable")]
    return total, available[0] if available else total
