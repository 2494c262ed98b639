"""The folder of one training run: Matterport's names of run folders and checkpoints."""

import datetime
import re
from pathlib import Path

from cyclic.files import same_place


class RunFolder:
    """Where the checkpoints of a run lie: `<model_dir>/<name><time>/mask_rcnn_<name>_<epoch>.h5`.

    Args:
        model_dir: folder of all runs.
        name: the configuration's NAME.
    """

    def __init__(self, model_dir: str | Path | None, name: str | None):
        self.model_dir = None if model_dir is None else Path(model_dir)
        self.name = str(name).lower()
        self._log_dir: Path | None = None

    @property
    def log_dir(self) -> Path:
        """Folder of this run, named for the configuration and the time of the first use.

        Raises:
            ValueError: `model_dir` is None.
        """
        if self._log_dir is None:
            if self.model_dir is None:
                raise ValueError("model_dir is None, so this run has no folder; name one")
            stamp = datetime.datetime.now().strftime("%Y%m%dT%H%M%S")
            self._log_dir = self.model_dir / f"{self.name}{stamp}"
        return self._log_dir

    def checkpoint(self, epoch: int) -> Path:
        """Return the path of the checkpoint after `epoch` epochs."""
        return self.log_dir / self._file_name(f"{epoch:04d}")

    def adopt(self, path: str | Path | None) -> int:
        """Go on in the folder of the checkpoint `path` and return its epoch.

        With None, or a file that is no checkpoint of this name in a run's folder, the run gets a new folder and the
        epoch is 0: a copy that lies elsewhere is only weights to start from.
        """
        match = None if path is None else re.fullmatch(self._file_name(r"(\d{4,})"), Path(path).name)
        if path is None or match is None or not self._is_run(same_place(path).parent):
            self._log_dir = None
            return 0
        self._log_dir = Path(path).parent
        return int(match.group(1))

    def _is_run(self, folder: Path) -> bool:
        """Whether a folder is named as `log_dir` names it; Matterport leaves the seconds out."""
        return re.fullmatch(rf"{re.escape(self.name)}\d{{8}}T\d{{4,6}}", folder.name) is not None

    def find_last(self) -> str:
        """Return the path of the newest checkpoint of the newest run.

        Raises:
            FileNotFoundError: there is none.
        """
        runs = sorted(self.model_dir.glob(f"{self.name}*")) if self.model_dir else []
        for run in reversed(runs):
            checkpoints = sorted(run.glob(self._file_name("*")))
            if checkpoints:
                return str(checkpoints[-1])
        raise FileNotFoundError(f"{self.model_dir}: no checkpoint of {self.name} in this folder")

    def _file_name(self, epoch: str) -> str:
        return f"mask_rcnn_{self.name}_{epoch}.h5"
