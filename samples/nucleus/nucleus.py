"""Nuclei of the 2018 Data Science Bowl with Mask R-CNN, written as a Matterport user writes it.

The data lie in Kaggle's layout: DATASET/stage1_train/<id>/images/<id>.png and <id>/masks/*.png, one mask a nucleus.

    python nucleus.py train --dataset DATASET --subset train --weights imagenet
    python nucleus.py train --dataset DATASET --subset train --weights last        # goes on after a stop
    python nucleus.py detect --dataset DATASET --subset stage1_test --weights last
"""

import argparse
import os
import sys
from datetime import datetime

import matplotlib

if __name__ == "__main__":
    matplotlib.use("Agg")  # draw into files, without a display

import matplotlib.pyplot as plt
import numpy as np

from cyclic.datasets.augment import load_imgaug
from cyclic.errors import InputError
from cyclic.images import read_image
from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import utils, visualize
from cyclic.mrcnn.config import Config

DEFAULT_LOGS_DIR = "logs"
DEFAULT_RESULTS_DIR = os.path.join("results", "nucleus")

# Every 25th image validates; the ids are hashes, so their order is as good as random.
VALIDATION_STRIDE = 25
# Layers whose shape follows from the number of classes: COCO's 81 do not fit.
CLASS_LAYERS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
# Epochs with the backbone frozen, and epochs in all.
HEADS_EPOCHS, ALL_EPOCHS = 20, 40


class NucleusConfig(Config):
    """Training on random 512 x 512 crops at twice the size."""

    NAME = "nucleus"
    NUM_CLASSES = 1 + 1  # background and nucleus
    IMAGES_PER_GPU = 6
    STEPS_PER_EPOCH = 640 // IMAGES_PER_GPU
    VALIDATION_STEPS = 25 // IMAGES_PER_GPU
    BACKBONE = "resnet50"
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 512
    IMAGE_MAX_DIM = 512
    IMAGE_MIN_SCALE = 2.0
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    RPN_NMS_THRESHOLD = 0.9  # more proposals to learn from
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 2000
    TRAIN_ROIS_PER_IMAGE = 128
    MAX_GT_INSTANCES = 200
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])  # most images are fluorescence on black
    DETECTION_MIN_CONFIDENCE = 0  # with two classes, a nucleus has 0.5 or more anyway
    DETECTION_MAX_INSTANCES = 400


class NucleusInferenceConfig(NucleusConfig):
    """Whole images, one at a time, padded to multiples of 64."""

    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    RPN_NMS_THRESHOLD = 0.7


class NucleusDataset(utils.Dataset):
    """Images and masks in Kaggle's layout."""

    def load_nucleus(self, dataset_dir, subset):
        """Add the images of a subset.

        Args:
            dataset_dir: folder that holds stage1_train, stage1_test ...
            subset: "train" and "val" divide stage1_train; anything else is the name of a folder in `dataset_dir`.

        Raises:
            InputError: no such folder, or no image in it.
        """
        folder = os.path.join(dataset_dir, "stage1_train" if subset in ("train", "val") else subset)
        if not os.path.isdir(folder):
            raise InputError(f"{folder}: no such folder; give the folder that holds stage1_train as --dataset")
        image_ids = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        val_ids = image_ids[::VALIDATION_STRIDE]
        if subset == "val":
            image_ids = val_ids
        elif subset == "train":
            image_ids = [image_id for image_id in image_ids if image_id not in val_ids]
        if not image_ids:
            raise InputError(f"{folder}: no image for the subset {subset}; it needs <id>/images/<id>.png")
        self.add_class("nucleus", 1, "nucleus")
        for image_id in image_ids:
            path = os.path.join(folder, image_id, "images", f"{image_id}.png")
            self.add_image("nucleus", image_id=image_id, path=path)

    def load_mask(self, image_id):
        """Return masks `[H, W, N]` bool and class ids `[N]`, all 1."""
        path = self.image_info[image_id]["path"]
        mask_dir = os.path.join(os.path.dirname(os.path.dirname(path)), "masks")
        files = sorted(name for name in os.listdir(mask_dir) if name.endswith(".png"))
        masks = [read_image(os.path.join(mask_dir, name))[..., 0] > 0 for name in files]
        return np.stack(masks, axis=-1), np.ones(len(masks), dtype=np.int32)

    def image_reference(self, image_id):
        """Return Kaggle's id of the image."""
        return self.image_info[image_id]["id"]


def load_dataset(dataset_dir, subset):
    """Return the prepared `NucleusDataset` of a subset."""
    dataset = NucleusDataset()
    dataset.load_nucleus(dataset_dir, subset)
    dataset.prepare()
    return dataset


def train(model, dataset_dir, subset):
    """Train the heads first, whose weights are random, and then all layers."""
    dataset_train, dataset_val = load_dataset(dataset_dir, subset), load_dataset(dataset_dir, "val")
    iaa = load_imgaug()
    turns = iaa.OneOf([iaa.Affine(rotate=90), iaa.Affine(rotate=180), iaa.Affine(rotate=270)])
    augmentation = iaa.SomeOf(
        (0, 2), [iaa.Fliplr(0.5), iaa.Flipud(0.5), turns, iaa.Multiply((0.8, 1.5)), iaa.GaussianBlur(sigma=(0.0, 5.0))]
    )
    for layers, epochs in (("heads", HEADS_EPOCHS), ("all", ALL_EPOCHS)):
        print(f"Train {layers}")
        model.train(
            dataset_train,
            dataset_val,
            learning_rate=model.config.LEARNING_RATE,
            epochs=epochs,
            augmentation=augmentation,
            layers=layers,
        )


def rle_encode(mask):
    """Return the run-length code of a mask (`[H, W]` bool): "start length ...", column by column, counted from 1."""
    changes = np.flatnonzero(np.diff(np.pad(mask.T.ravel().astype(np.int8), 1)))
    starts, ends = changes[::2], changes[1::2]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))


def rle_decode(rle, shape):
    """Return the mask (`[H, W]` bool) of a run-length code; shape is (H, W)."""
    mask = np.zeros(shape[0] * shape[1], dtype=bool)
    numbers = [int(number) for number in rle.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        mask[start - 1 : start - 1 + length] = True
    return mask.reshape(shape[1], shape[0]).T


def mask_to_rle(image_id, masks, scores):
    """Return the lines of a submission for one image: a pixel in two masks goes to the one of the higher score.

    Args:
        image_id: Kaggle's id.
        masks: `[H, W, N]` bool.
        scores: `[N]`.
    """
    lines, taken = [], np.zeros(masks.shape[:2], dtype=bool)
    for index in np.argsort(scores)[::-1]:
        mask = masks[..., index] & ~taken
        taken |= mask
        if mask.any():
            lines.append(f"{image_id},{rle_encode(mask)}")
    return lines or [f"{image_id},"]


def detect(model, dataset_dir, subset, results_dir):
    """Write submit.csv, and a picture of each image with its detections, into a new folder, which is returned."""
    dataset = load_dataset(dataset_dir, subset)
    submit_dir = os.path.join(results_dir, f"submit_{datetime.now():%Y%m%dT%H%M%S}")
    os.makedirs(submit_dir)
    submission = ["ImageId,EncodedPixels"]
    for image_id in dataset.image_ids:
        image = dataset.load_image(image_id)
        r = model.detect([image], verbose=0)[0]
        source_id = dataset.image_info[image_id]["id"]
        submission += mask_to_rle(source_id, r["masks"], r["scores"])
        visualize.display_instances(
            image,
            r["rois"],
            r["masks"],
            r["class_ids"],
            dataset.class_names,
            r["scores"],
            show_bbox=False,
            show_mask=False,
            title="Predictions",
        )
        plt.savefig(os.path.join(submit_dir, f"{source_id}.png"))
        plt.close()
    with open(os.path.join(submit_dir, "submit.csv"), "w") as file:
        file.write("\n".join(submission) + "\n")
    print(f"Saved to {submit_dir}")
    return submit_dir


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Mask R-CNN for nuclei", epilog=__doc__.split("\n\n")[-1])
    parser.add_argument("command", choices=("train", "detect"))
    parser.add_argument("--dataset", required=True, help="folder that holds stage1_train, stage1_test ...")
    parser.add_argument("--subset", required=True, help="train, val or the name of a folder in the dataset")
    parser.add_argument("--weights", required=True, help="weights file, last, coco or imagenet")
    parser.add_argument("--logs", default=DEFAULT_LOGS_DIR, help="folder of checkpoints (%(default)s)")
    parser.add_argument("--results", default=DEFAULT_RESULTS_DIR, help="folder of submissions (%(default)s)")
    args = parser.parse_args(arguments)

    if args.command == "train":
        model = modellib.MaskRCNN(mode="training", config=NucleusConfig(), model_dir=args.logs)
    else:
        model = modellib.MaskRCNN(mode="inference", config=NucleusInferenceConfig(), model_dir=args.logs)
    weights_path = model.find_last() if args.weights == "last" else args.weights
    model.load_weights(weights_path, by_name=True, exclude=CLASS_LAYERS if args.weights == "coco" else None)

    if args.command == "train":
        train(model, args.dataset, args.subset)
    else:
        detect(model, args.dataset, args.subset, args.results)


if __name__ == "__main__":
    try:
        main()
    except (InputError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
