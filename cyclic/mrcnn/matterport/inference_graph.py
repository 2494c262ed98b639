"""`keras_model` of the inference mode: Matterport's inputs, outputs and layer names around the weights of a `Network`.

Detection does not run it, see `detect.detector`: here the mask head works on all D slots of a batch, and each layer of
the network is reachable. So it is built only when a program asks for it.

Shape shorthand: B images, A anchors, R ROIs of an image, D detections, K classes with background, M mask side.
"""

import keras
from keras import ops

from cyclic.mrcnn.data.molding import read_meta
from cyclic.mrcnn.geometry.boxes import normalize_boxes
from cyclic.mrcnn.kernels.symbolic import let_identity_pass
from cyclic.mrcnn.layers.deconv import arrange_pixels
from cyclic.mrcnn.layers.named_model import NamedModel
from cyclic.mrcnn.layers.network import detection_layer, join_levels, proposal_layer
from cyclic.mrcnn.layers.roi_align import PyramidROIAlign


@keras.saving.register_keras_serializable(package="cyclic")
class InGraph(keras.layers.Wrapper):
    """A layer of the network at its place in Matterport's graph: same name, same weights, an output of its own.

    Args:
        layer: layer or part of the network.
        of_rois: True for a layer of the heads, which takes the ROIs of a whole batch along its first axis: the input
            `[B, R, ...]` is folded for it, and its output unfolded.
    """

    def __init__(self, layer, of_rois=False, **kwargs):
        super().__init__(layer, **{"name": layer.name, "autocast": False, **kwargs})
        self.of_rois = of_rois

    def call(self, inputs, **options):
        if not self.of_rois:
            return self.layer(inputs, **options)
        output = self.layer(ops.reshape(inputs, (-1, *inputs.shape[2:])), **options)
        return ops.reshape(output, (-1, inputs.shape[1], *output.shape[1:]))

    @property
    def output(self):
        """The output; of the RPN, which runs once for each pyramid level, a list of the outputs of each call."""
        if self.name == "rpn_model":
            return [node.output_tensors for node in self._inbound_nodes]
        return super().output

    def get_config(self):
        return {**super().get_config(), "of_rois": self.of_rois}


@keras.saving.register_keras_serializable(package="cyclic")
class ROIAlignOfImages(PyramidROIAlign):
    """`PyramidROIAlign` whose output keeps the images apart, as Matterport's does: `[B, R, P, P, C]`."""

    def call(self, rois, feature_maps):
        pooled = super().call(rois, feature_maps)
        return ops.reshape(pooled, (-1, rois.shape[1], *pooled.shape[1:]))

    def compute_output_shape(self, rois_shape, feature_maps_shape):
        return (*rois_shape[:2], self.pool_size, self.pool_size, feature_maps_shape[0][-1])


@keras.saving.register_keras_serializable(package="cyclic")
class InferenceModel(NamedModel):
    """Functional model from `[input_image, input_image_meta, input_anchors]` to Matterport's list of outputs.

    `inference_model(network)` builds it.

    Attributes (beside those of `NamedModel`):
        detect: `predict_on_batch` of `network.detection_model`, which takes a dict of that graph's inputs; or None.
        calls: `{part of the network: inputs of each of its calls}`, symbolic.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.detect, self.calls = None, {}

    def predict_on_batch(self, x):
        """Return the outputs as arrays; for a dict of image and window, those of `detect`."""
        return self.detect(x) if self.detect and isinstance(x, dict) else super().predict_on_batch(x)


def inference_model(network, detect=None):
    """Build Matterport's inference graph.

    Inputs: input_image `[B, H, W, 3]` float32, mean subtracted, sides divisible by 64; input_image_meta `[B, meta]`;
    input_anchors `[B, A, 4]` normalized, see `MaskRCNN.get_anchors`.

    Args:
        network: `Network`.
        detect: see `InferenceModel`.

    Returns:
        `InferenceModel`. Outputs: detections `[B, D, 6]`, mrcnn_class `[B, R, K]`, mrcnn_bbox `[B, R, K, 4]`,
        mrcnn_mask `[B, D, M, M, K]`, rpn_rois `[B, R, 4]`, rpn_class `[B, A, 2]` and rpn_bbox `[B, A, 4]`.
    """
    let_identity_pass()
    config = network.config
    image = keras.Input((None, None, config.IMAGE_CHANNEL_COUNT), name="input_image")
    meta = keras.Input((config.IMAGE_META_SIZE,), name="input_image_meta")
    anchors = keras.Input((None, 4), name="input_anchors")

    features = _lay_open(network.backbone, [image])
    pyramid = _lay_open(network.fpn, features)
    rpn = InGraph(network.rpn)
    _, rpn_class, rpn_bbox = join_levels([rpn(level) for level in network.proposing(pyramid)])
    rois = proposal_layer(config, config.POST_NMS_ROIS_INFERENCE)(rpn_class, rpn_bbox, anchors)
    pooled = ROIAlignOfImages(config.POOL_SIZE, name="roi_align_classifier")(rois, pyramid[:4])
    _, probabilities, deltas = _lay_open(network.box_head, [pooled], of_rois=True)
    image_size = read_meta(meta, "image_shape")[0]
    windows = normalize_boxes(read_meta(meta, "window"), (image_size[0], image_size[1]))
    detections = detection_layer(config)(rois, probabilities, deltas, windows)
    mask_pooled = ROIAlignOfImages(config.MASK_POOL_SIZE, name="roi_align_mask")(detections[..., :4], pyramid[:4])
    masks = _masks(network.mask_head, mask_pooled)
    outputs = [detections, probabilities, deltas, masks, rois, rpn_class, rpn_bbox]
    model = InferenceModel([image, meta, anchors], outputs, name="mask_rcnn")
    model.network, model.detect = network, detect
    model.calls = {
        network.backbone: [[image]],
        network.fpn: [features],
        network.rpn: [[level] for level in network.proposing(pyramid)],
        network.box_head: [[_fold(pooled)]],
        network.mask_head: [[_fold(mask_pooled)]],
    }
    return model


def _lay_open(part, inputs, of_rois=False):
    """Apply the layers of a part of the network one by one, each as a layer of the graph; return the part's outputs."""

    def shown(operation):
        return InGraph(operation, of_rois) if isinstance(operation, keras.layers.Layer) else operation

    # What `part.call` does, with `shown` in between.
    return part._run_through_graph(inputs, operation_fn=shown)


def _masks(mask_head, pooled):
    """Return the masks `[B, D, M, M, K]` of pooled ROIs; the last layer gives them, as Matterport's does."""
    doubling = mask_head.get_layer("mrcnn_mask_deconv")
    x = _lay_open(keras.Model(mask_head.input, doubling.input), [pooled], of_rois=True)
    arranged = keras.Model(doubling.input, arrange_pixels(doubling.output), name="mrcnn_mask_deconv")
    x = InGraph(arranged, of_rois=True)(x)
    last, activation = mask_head.get_layer("mrcnn_mask"), mask_head.get_layer("mrcnn_mask_sigmoid")
    features = keras.Input((None, None, x.shape[-1]))
    masks = keras.Model(features, activation(last(features)), name="mrcnn_mask")
    return InGraph(masks, of_rois=True)(x)


def _fold(pooled):
    return ops.reshape(pooled, (-1, *pooled.shape[2:]))
