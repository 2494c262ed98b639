"""`MaskRCNN`: Matterport's model class. Training is here, detection in `detect`, the look inside in `matterport`.

All names of Matterport's `model` can be imported from here; the code is in the rooms that the imports below name.
"""

import logging

import keras

from cyclic.allocator import keep_freed_memory
from cyclic.errors import InputError
from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.mrcnn.data.molding import compose_image_meta, mold_image, parse_image_meta, unmold_image
from cyclic.mrcnn.data.rpn_targets import build_rpn_targets
from cyclic.mrcnn.data.sample import load_image_gt
from cyclic.mrcnn.geometry.anchors_numpy import compute_backbone_shapes
from cyclic.mrcnn.geometry.boxes import apply_box_deltas as apply_box_deltas_graph
from cyclic.mrcnn.geometry.boxes import clip_boxes as clip_boxes_graph
from cyclic.mrcnn.geometry.boxes import normalize_boxes as norm_boxes_graph
from cyclic.mrcnn.kernels.determinism import add_in_one_order
from cyclic.mrcnn.kernels.devices import shared_by
from cyclic.mrcnn.layers.losses import mrcnn_bbox_loss as mrcnn_bbox_loss_graph
from cyclic.mrcnn.layers.losses import mrcnn_class_loss as mrcnn_class_loss_graph
from cyclic.mrcnn.layers.losses import mrcnn_mask_loss as mrcnn_mask_loss_graph
from cyclic.mrcnn.layers.losses import rpn_class_loss as rpn_class_loss_graph
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.matterport.generator import data_generator
from cyclic.mrcnn.matterport.graphs import (
    batch_pack_graph,
    denorm_boxes_graph,
    log2_graph,
    overlaps_graph,
    parse_image_meta_graph,
    rpn_bbox_loss_graph,
    smooth_l1_loss,
    trim_zeros_graph,
)
from cyclic.mrcnn.matterport.heads import build_fpn_mask_graph, build_rpn_model, fpn_classifier_graph, rpn_graph
from cyclic.mrcnn.matterport.inspection import Inspection, log
from cyclic.mrcnn.matterport.layers import (
    BatchNorm,
    DetectionLayer,
    DetectionTargetLayer,
    ProposalLayer,
    PyramidROIAlign,
    detection_targets_graph,
    refine_detections_graph,
)
from cyclic.mrcnn.matterport.resnet import conv_block, identity_block, resnet_graph
from cyclic.mrcnn.matterport.targets import build_detection_targets, generate_random_rois
from cyclic.mrcnn.train import checkpoint
from cyclic.mrcnn.train.callbacks import Checkpoint, NaNGuard, tensorboard
from cyclic.mrcnn.train.optimizer import check_devices, check_rate_callbacks, compile_model, jit_compile, set_trainable
from cyclic.mrcnn.train.run_folder import RunFolder
from cyclic.mrcnn.weights import downloads, h5

__all__ = [
    "BatchNorm", "DataGenerator", "DetectionLayer", "DetectionTargetLayer", "MaskRCNN", "ProposalLayer",
    "PyramidROIAlign", "apply_box_deltas_graph", "batch_pack_graph", "build_detection_targets", "build_fpn_mask_graph",
    "build_rpn_model", "build_rpn_targets", "clip_boxes_graph", "compose_image_meta", "compute_backbone_shapes",
    "conv_block", "data_generator", "denorm_boxes_graph", "detection_targets_graph", "fpn_classifier_graph",
    "generate_random_rois", "identity_block", "load_image_gt", "log", "log2_graph", "mold_image",
    "mrcnn_bbox_loss_graph", "mrcnn_class_loss_graph", "mrcnn_mask_loss_graph", "norm_boxes_graph", "overlaps_graph",
    "parse_image_meta", "parse_image_meta_graph", "refine_detections_graph", "resnet_graph", "rpn_bbox_loss_graph",
    "rpn_class_loss_graph", "rpn_graph", "smooth_l1_loss", "trim_zeros_graph", "unmold_image",
]  # fmt: skip

logger = logging.getLogger(__name__)


class MaskRCNN(Inspection):
    """Mask R-CNN with Matterport's names and calls.

    Args:
        mode: "training" or "inference".
        config: `cyclic.mrcnn.config.Config` or a class derived from it.
        model_dir: folder for checkpoints and TensorBoard logs (where TensorBoard is installed); None writes none.
        network: `Network` whose weights to use, e.g. that of a model in the other mode; None builds one. To train on
            several devices (GPU_COUNT) it has to be built in `devices.shared_by`.

    Attributes:
        network: the layers and their weights.
        keras_model: the Keras model of the mode, see `network.training_model` and `network.detection_model`.
        epoch: epochs trained so far.
        folder: `RunFolder`; `log_dir` is the folder of this run.
        last_checkpoint: the checkpoint last written or loaded, or None.
    """

    def __init__(self, mode, config, model_dir=None, network=None):
        if mode not in ("training", "inference"):
            raise ValueError(f"mode = {mode!r}: use training or inference")
        self.folder = RunFolder(model_dir, config.NAME)
        self.epoch, self.last_checkpoint = 0, None
        self._resume_from = None
        compiled = mode == "inference" and jit_compile(config.JIT_COMPILE)
        with self._devices(mode, config):
            super().__init__(mode, config, network or Network(config), compiled)

    @staticmethod
    def _devices(mode, config):
        """Return the context of the devices that share a batch; detection takes one."""
        return shared_by(config.GPU_COUNT if mode == "training" else 1)

    @property
    def model_dir(self):
        """Folder of all runs, or None."""
        return self.folder.model_dir

    @property
    def log_dir(self):
        """Folder of this run's checkpoints, named for the configuration and the time of the first use."""
        return self.folder.log_dir

    def set_log_dir(self, model_path=None):
        """Go on from the epoch and in the folder of the checkpoint `model_path`; else at epoch 0 in a new folder."""
        self.epoch = self.folder.adopt(model_path)

    # --- weights ---
    def load_weights(self, filepath, by_name=True, exclude=None):
        """Load weights by layer name; see `h5.load_weights`.

        From a checkpoint, the model takes over the epoch and the folder as well. The next `train` with the same layers
        and learning rate then goes on with its optimizer.

        Args:
            filepath: h5 file in Matterport's layout; "coco" or "imagenet" for public weights, see `downloads`.
            by_name: kept for Matterport's callers; loading always goes by name.
            exclude: layer names to leave as they are.

        Returns:
            `h5.LoadReport`.

        Raises:
            InputError: a file that is missing, unreadable or of another network; public weights cannot be downloaded.
        """
        if filepath == "coco":
            filepath = downloads.fetch_cached("coco")
        elif filepath == "imagenet":
            filepath = self.get_imagenet_weights()
        report = h5.load_weights(filepath, self.network, exclude or ())
        self.set_log_dir(filepath)
        self.last_checkpoint = filepath if self.epoch else None
        self._resume_from = None if exclude else self.last_checkpoint
        return report

    def save_weights(self, filepath):
        """Write all weights to `filepath` in Matterport's h5 layout."""
        h5.save_weights(filepath, self.network, {"epoch": self.epoch})

    def find_last(self):
        """Return the path of the newest checkpoint of the newest run in `model_dir`.

        Raises:
            FileNotFoundError: there is none.
        """
        return self.folder.find_last()

    def get_imagenet_weights(self):
        """Return the path of the ImageNet weights of `config.BACKBONE`, downloaded once.

        Raises:
            InputError: there are none for this backbone or its normalisation, or they cannot be downloaded.
        """
        backbone, norm = self.config.BACKBONE, self.config.norm()
        norms = {"resnet50": ("frozen", "batch"), "resnet101": ("frozen", "batch"), "vgg16": ("frozen",)}
        if callable(backbone) or backbone not in norms:
            raise InputError(f"no ImageNet weights for the backbone {backbone!r}; use one of {', '.join(norms)}")
        if norm not in norms[backbone]:
            raise InputError(f"ImageNet weights of {backbone} need NORM = {' or '.join(norms[backbone])}, not {norm}")
        return str(downloads.fetch_cached(backbone))

    # --- training ---
    def train(
        self,
        train_dataset,
        val_dataset,
        learning_rate,
        epochs,
        layers="all",
        augmentation=None,
        custom_callbacks=None,
        no_augmentation_sources=None,
        verbose=1,
    ):
        """Train to `epochs` epochs in total.

        After `load_weights` of a checkpoint that was written with the same layers and learning rate, training goes on
        as if it had not stopped; every other call starts with a new optimizer.

        Args:
            train_dataset, val_dataset: prepared `utils.Dataset` objects; val_dataset may be None.
            learning_rate: peak learning rate.
            epochs: epoch to train to: after 10 epochs, `epochs=20` trains 10 more.
            layers: "heads", "3+", "4+", "5+", "all" or a regular expression of layer names.
            augmentation: imgaug augmenter or callable, see `loader.DataGenerator`.
            custom_callbacks: more Keras callbacks.
            no_augmentation_sources: sources of the data set that are not augmented.
            verbose: 1 shows Keras' progress bar, 2 one line an epoch, 0 nothing.

        Returns:
            `keras.callbacks.History`.

        Raises:
            ValueError: a callback and the configuration's schedule would both set the learning rate.
            InputError: there are fewer devices than GPU_COUNT; TensorFlow is to accumulate gradients on several.
            FloatingPointError: the loss is no longer finite; names the step, its images and the last good checkpoint.
        """
        if self.mode != "training":
            raise ValueError("train() needs a model in training mode")
        keep_freed_memory()
        add_in_one_order()
        check_rate_callbacks(self.config, custom_callbacks or ())
        check_devices(self.keras_model, self.config)
        self.set_trainable(layers)
        with self._devices(self.mode, self.config):
            return self._fit(
                train_dataset, val_dataset, learning_rate, epochs, layers, augmentation, custom_callbacks,
                no_augmentation_sources, verbose,
            )  # fmt: skip

    def _fit(
        self, train_dataset, val_dataset, learning_rate, epochs, layers, augmentation, callbacks, unchanged, verbose
    ):
        """Train as `train` says, from where a checkpoint that was loaded has stopped."""
        config = self.config
        settings = checkpoint.run_settings(self.keras_model, config, layers, learning_rate)
        resumed = self._resume_from
        if resumed and not checkpoint.can_resume(resumed, settings):
            logger.info("%s: of another stage of training, the optimizer starts anew", resumed)
            resumed = None
        done = checkpoint.steps_done(resumed) if resumed else 0
        self.compile(learning_rate, config.LEARNING_MOMENTUM, done + (epochs - self.epoch) * config.STEPS_PER_EPOCH)
        train_data = DataGenerator(
            train_dataset,
            config,
            shuffle=True,
            augmentation=augmentation,
            no_augmentation_sources=unchanged,
            seed=checkpoint.restore(resumed, self.keras_model) if resumed else None,
            epoch=self.epoch,
        )
        if epochs > self.epoch:
            self._resume_from = None
        val_data = None if val_dataset is None else DataGenerator(val_dataset, config, shuffle=False)
        ours = [NaNGuard(train_data, lambda: self.last_checkpoint)]
        if self.model_dir is not None:
            ours += [Checkpoint(self, settings, train_data.seed, done), *tensorboard(self.log_dir)]
        history = self.keras_model.fit(
            train_data,
            validation_data=val_data,
            initial_epoch=self.epoch,
            epochs=epochs,
            steps_per_epoch=config.STEPS_PER_EPOCH,
            validation_steps=config.VALIDATION_STEPS if val_data is not None else None,
            # Theirs last, as in Matterport: they may ask for the checkpoint of the epoch that has just ended.
            callbacks=[*ours, *(callbacks or ())],
            shuffle=False,
            verbose=verbose,
        )
        self.epoch = max(self.epoch, epochs)
        return history

    def set_trainable(self, layer_regex):
        """Train the layers that match `layer_regex` (see `layers` of `train`), and freeze the others."""
        set_trainable(self.network, layer_regex)

    def compile(self, learning_rate, momentum, total_steps=None):
        """Give `keras_model` an optimizer in its first step, see `compile_model`; the losses are part of the model.

        Under the dtype policy "mixed_float16" Keras scales the loss, and skips a step whose gradients overflow.
        """
        compile_model(self.keras_model, self.config, learning_rate, momentum, total_steps)

    def restart(self, seed):
        """Forget all training but the weights: back to epoch 0, with random choices that follow from `seed`."""
        self.epoch, self.last_checkpoint, self._resume_from = 0, None, None
        self.config.SEED = seed
        for state in checkpoint.generators(self.keras_model).values():
            state.assign(keras.random.SeedGenerator(seed).state.value)
