"""CoNSeP (Graham et al. 2019) in its published layout, see `split_folders`.

A .mat file holds `inst_map` and `type_map`: 1 other, 2 inflammatory, 3 healthy epithelial, 4 dysplastic or malignant
epithelial, 5 fibroblast, 6 muscle, 7 endothelial; copies with four classes (3 epithelial, 4 spindle-shaped) are common.
"""

from cyclic.datasets.split_folders import SplitFoldersDataset


class ConsepDataset(SplitFoldersDataset):
    """Images of one split: "train" is `Train/`, "test" is `Test/`; "val" needs a `split.json`."""

    label_key = "inst_map"
