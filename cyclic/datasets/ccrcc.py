"""The ccRCC grading set (Gao et al. 2021) in its published layout, see `split_folders`.

A .mat file holds `instance_map`, `class_map` (1 to 3: tumour nuclei of grade 1 to 3, 4: endothelial) and
`TCGA_file_name`, the slide that the image was cut from.
"""

from cyclic.datasets.split_folders import SplitFoldersDataset


class CcrccDataset(SplitFoldersDataset):
    """Images of one split: "train", "val" and "test" are `Train/`, `Valid/` and `Test/`."""

    label_key = "instance_map"

    @property
    def class_names(self) -> dict[int, str]:
        return {1: "tumour, grade 1", 2: "tumour, grade 2", 3: "tumour, grade 3", 4: "endothelial"}
