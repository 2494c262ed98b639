"""A plain folder of images: no labels, and splits only where `split.json` lies beside the images."""

from pathlib import Path

from cyclic.datasets.dataset import NucleiDataset
from cyclic.files import IMAGE_SUFFIXES, image_files, is_litter


class ImageFolderDataset(NucleiDataset):
    """Images of one folder; see `NucleiDataset`. None has instance labels."""

    @staticmethod
    def holds(root: Path) -> bool:
        """Whether an image lies in `root` itself."""
        return root.is_dir() and any(
            path.suffix.lower() in IMAGE_SUFFIXES and not is_litter(path) for path in root.iterdir()
        )

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        return image_files(self.root), {}
