"""Crops from a pyramid with the backend's own operation, where it has one; the reference is in `layers.roi_align`."""

import keras


def crop_pyramid(feature_maps, boxes, image, level, size):
    """Crop each box from the map of its level and its image.

    Args:
        feature_maps: `[P2..P5]`, each `[B, h, w, C]`.
        boxes: `[M, 4]` float32 normalized boxes.
        image: `[M]` int32 index of each box's image.
        level: `[M]` int32 index into `feature_maps`.
        size: side P of a crop in samples.

    Returns:
        `[M, P, P, C]` in the maps' dtype, or None where the backend or the dtype has no such operation.
    """
    dtype = keras.backend.standardize_dtype(feature_maps[0].dtype)
    if keras.backend.backend() != "tensorflow" or dtype not in ("float32", "bfloat16"):
        return None
    import tensorflow as tf

    # The operation takes no bfloat16. A graph that crops twice casts once: TensorFlow joins equal operations.
    feature_maps = [tf.cast(feature_map, "float32") for feature_map in feature_maps]
    rows, crops = [], []
    for index, feature_map in enumerate(feature_maps):
        row = tf.cast(tf.where(tf.equal(level, index))[:, 0], tf.int32)
        rows.append(row)
        cropped = tf.image.crop_and_resize(feature_map, tf.gather(boxes, row), tf.gather(image, row), (size, size))
        crops.append(tf.cast(cropped, dtype))
    return tf.reshape(tf.dynamic_stitch(rows, crops), (-1, size, size, feature_maps[0].shape[-1]))
