"""The Mask R-CNN configuration: one class with every setting, its default and its meaning.

Derive a class and override what differs, as in Matterport's samples:

    class NucleusConfig(Config):
        NAME = "nucleus"
        NUM_CLASSES = 1 + 1
"""

import numpy as np

from cyclic.errors import InputError


class Config:
    """Settings of the network, its training and its data; names and defaults are Matterport's.

    Attributes that Matterport does not have stand in the last block of the class. There is no attribute for the
    precision: the model takes Keras' dtype policy of the moment it is built. Set it before, for example with
    `keras.config.set_dtype_policy("mixed_bfloat16")`; "mixed_float16" scales the loss as well.

    Attributes set on construction:
        BATCH_SIZE: IMAGES_PER_GPU * GPU_COUNT.
        IMAGE_SHAPE: `[3]` int (height, width, channels) of the network's input.
        IMAGE_META_SIZE: length of the vector that describes one image, see `utils.compose_image_meta`.

    Raises:
        InputError: USE_RPN_ROIS is False; MEAN_PIXEL has not one value for each of IMAGE_CHANNEL_COUNT channels.
    """

    # --- Run ---
    # Name of the experiment, e.g. "nucleus"; derived classes set it.
    NAME: str | None = None
    # The batch holds GPU_COUNT * IMAGES_PER_GPU images. So many devices share each batch of training, on JAX and
    # TensorFlow; losses are those of one device with the whole batch. Detection takes one device.
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    # Training and validation batches in one epoch; an epoch need not cover the data set exactly once.
    STEPS_PER_EPOCH = 1000
    VALIDATION_STEPS = 50

    # --- Backbone and feature pyramid ---
    # Name of a backbone ("resnet18", "resnet34", "resnet50", "resnet101", "vgg16") or a callable that builds one.
    BACKBONE = "resnet101"
    # Needed only if BACKBONE is callable: a function of the image shape that returns the height and width of each
    # pyramid level, `[levels, 2]`.
    COMPUTE_BACKBONE_SHAPE = None
    # Input pixels per feature-map cell of the pyramid levels P2..P6. Without the 4, P2 bears no anchors: it has
    # more of them than the other levels together, and only the smallest objects need them.
    BACKBONE_STRIDES = [4, 8, 16, 32, 64]
    # Units of the fully connected layers of the classification head.
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024
    # Channels of every pyramid level.
    TOP_DOWN_PYRAMID_SIZE = 256
    # Classes, the background included.
    NUM_CLASSES = 1

    # --- Region proposals ---
    # Side of a square anchor in input pixels, one for each of BACKBONE_STRIDES.
    RPN_ANCHOR_SCALES: tuple[int, ...] = (32, 64, 128, 256, 512)
    # Width / height of the anchors at each position; 1 is a square, 0.5 a tall anchor.
    RPN_ANCHOR_RATIOS = [0.5, 1, 2]
    # 1 puts anchors on every feature-map cell, 2 on every second one.
    RPN_ANCHOR_STRIDE = 1
    # Non-maximum suppression drops a proposal that overlaps a better one by more; raise it to train on more proposals.
    RPN_NMS_THRESHOLD = 0.7
    # How many anchors of one image count in the RPN's losses, at most half of them positive.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256
    # Best-scoring anchors that enter non-maximum suppression, and the proposals kept after it.
    PRE_NMS_LIMIT = 6000
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # --- Input images ---
    # Instance masks are cut to their box and resized to MINI_MASK_SHAPE (height, width), which saves memory.
    USE_MINI_MASK = True
    MINI_MASK_SHAPE = (56, 56)
    # "none":   no scaling, no padding.
    # "square": scale to IMAGE_MIN_DIM..IMAGE_MAX_DIM, zero-pad to IMAGE_MAX_DIM x IMAGE_MAX_DIM.
    # "pad64":  scale to IMAGE_MIN_DIM (and by at least IMAGE_MIN_SCALE), zero-pad to multiples of 64.
    # "crop":   scale by IMAGE_MIN_DIM and IMAGE_MIN_SCALE, cut a random IMAGE_MIN_DIM x IMAGE_MIN_DIM square.
    #           For training; IMAGE_MAX_DIM is not used.
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024
    # Images are enlarged by at least this factor (2 doubles each side); 0 sets no minimum.
    IMAGE_MIN_SCALE: float = 0
    # "crop" only: in training, how much larger or smaller than usual things may appear; 0.4 for 1/1.4 to 1.4 times.
    IMAGE_SCALE_JITTER = 0.0
    # Channels of the input; `Dataset.load_image` returns as many, and MEAN_PIXEL has one value for each. Where they are
    # not three, `load_weights(path, exclude=["conv1"])` loads weights for RGB.
    IMAGE_CHANNEL_COUNT = 3
    # Subtracted from every pixel (RGB).
    MEAN_PIXEL = np.array([123.7, 116.8, 103.9])

    # --- ROIs and heads ---
    # How many ROIs of one image the heads train on, and the share of positive ones among them.
    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33
    # Side of the pooled ROI features of the classification and of the mask head.
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14
    # Shape of the predicted masks.
    MASK_SHAPE = [28, 28]
    # How many ground-truth instances of one image are used at most.
    MAX_GT_INSTANCES = 100
    # Standard deviation of the box refinements (dy, dx, log dh, log dw) of the RPN and of the heads.
    RPN_BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])

    # --- Detections ---
    # How many instances of one image are detected at most.
    DETECTION_MAX_INSTANCES = 100
    # The probability that a detection needs.
    DETECTION_MIN_CONFIDENCE = 0.7
    # A detection that overlaps a better one of its class by more is dropped.
    DETECTION_NMS_THRESHOLD = 0.3

    # --- Training ---
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    # Decoupled decay: every step shrinks the kernels by the share learning rate * WEIGHT_DECAY, but neither biases nor
    # the parameters of normalisation. Matterport has an L2 loss instead, divided by the size of each kernel and bias.
    WEIGHT_DECAY = 0.0001
    # The factor of each loss in the sum that training minimises.
    LOSS_WEIGHTS = {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    # The heads always train on the RPN's proposals. Matterport's switch for debugging, False, is an error here.
    USE_RPN_ROIS = True
    # Batch normalisation: False freezes its statistics, scale and shift (small batches), None and True train them.
    TRAIN_BN = False
    # Gradients are scaled down to this norm.
    GRADIENT_CLIP_NORM = 5.0

    # --- Not in Matterport's Config ---
    # Normalisation layers: "batch", "frozen" (batch statistics never updated) or "group"; None follows TRAIN_BN:
    # False means "frozen", None and True mean "batch".
    NORM: str | None = None
    # Channels of the RPN's shared convolution and of the mask head; fewer make a smaller, faster network.
    RPN_CHANNELS = 512
    MASK_CHANNELS = 256
    # "sgd" (LEARNING_MOMENTUM) or "adamw".
    OPTIMIZER = "sgd"
    # Steps over which the learning rate rises linearly from 0, and its course after them: "constant" or "cosine".
    WARMUP_STEPS = 0
    LR_SCHEDULE = "constant"
    # The gradients of this many batches are averaged for one step of the optimizer, as if the batch were larger.
    # Steps of an epoch, of the warm-up and of the schedule still count batches.
    GRADIENT_ACCUMULATION_STEPS = 1
    # Whether XLA (PyTorch: torch.compile) compiles the training step. "auto" is True on JAX, which is slow without it,
    # and False elsewhere: TensorFlow's XLA compiles for minutes and is then slower on a CPU, and torch.compile fails
    # where shapes depend on the data. On a GPU, True may be worth it in a long run.
    JIT_COMPILE: bool | str = "auto"
    # An anchor or ROI with a larger share of its area in the ignore region has no loss, unless it is positive.
    IGNORE_OVERLAP = 0.3
    # True: the data loader yields an ignore map for each image and the losses respect it.
    USE_IGNORE = False
    # True: the best foreground class of a ROI counts, even where background is likelier. Without it, a
    # DETECTION_MIN_CONFIDENCE under 0.5 has no effect when there is only one foreground class.
    DETECTION_ANY_FOREGROUND = False
    # Detected boxes are enlarged by this share before the mask head sees them, so that a box that is too small does not
    # cut its mask off. The enlarged boxes are returned.
    DETECTION_MASK_MARGIN = 0.0
    # RPN_NMS_THRESHOLD in training, so that heads learn from more boxes of one thing; None: the same.
    RPN_NMS_THRESHOLD_TRAINING: float | None = None
    # True: the ground-truth boxes join the proposals in training, so that the heads learn before the RPN does.
    USE_GT_PROPOSALS = False
    # Seed of sampling, cropping and augmentation; None draws one.
    SEED: int | None = None

    def __init__(self):
        if not self.USE_RPN_ROIS:
            raise InputError("USE_RPN_ROIS = False: the heads train on the RPN's proposals alone; remove this setting")
        if np.ndim(self.MEAN_PIXEL) and np.shape(self.MEAN_PIXEL) != (self.IMAGE_CHANNEL_COUNT,):
            raise InputError(
                f"MEAN_PIXEL has {np.size(self.MEAN_PIXEL)} values and IMAGE_CHANNEL_COUNT = "
                f"{self.IMAGE_CHANNEL_COUNT}; give MEAN_PIXEL one value for each channel"
            )
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        self.IMAGE_SHAPE = np.array([side, side, self.IMAGE_CHANNEL_COUNT])
        # Image id (1), original shape (3), shape (3), window (4), scale (1), one flag for each class.
        self.IMAGE_META_SIZE = 1 + 3 + 3 + 4 + 1 + self.NUM_CLASSES

    def norm(self) -> str:
        """Return the kind of normalisation layer: "batch", "frozen" or "group".

        Raises:
            ValueError: NORM is none of them.
        """
        if self.NORM is None:
            return "frozen" if self.TRAIN_BN is False else "batch"
        # Imported late, since it loads Keras: after importing Config, a program can still choose Keras' backend.
        from cyclic.backbones.norm import NORMS

        if self.NORM not in NORMS:
            raise ValueError(f"NORM = {self.NORM!r}: use one of {', '.join(NORMS)}, or None to follow TRAIN_BN")
        return self.NORM

    def to_dict(self) -> dict:
        """Return `{attribute: value}` of every setting, sorted by name."""
        values = {name: getattr(self, name) for name in sorted(dir(self)) if not name.startswith("_")}
        return {name: value for name, value in values.items() if name.isupper()}

    def display(self) -> None:
        """Print every setting."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")
