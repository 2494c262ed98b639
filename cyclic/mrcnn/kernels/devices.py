"""Training on several devices: what a model is built in, and what each device has to know of the others.

JAX computes a step once, for the whole batch, and divides the work. TensorFlow computes it once a device, for a part of
the batch, and sums the gradients. So there a mean over the batch takes its weights from all devices.
"""

import contextlib
import functools

import keras
from keras import ops

from cyclic.errors import InputError


def shared_by(count):
    """Return the context in which a model is built, and trained, on `count` devices that share each batch.

    Args:
        count: number of devices; 1 is the backend's own choice.

    Raises:
        InputError: there are fewer, or the backend is PyTorch.
    """
    return contextlib.nullcontext() if count == 1 else _distribution(count).scope()


@functools.cache
def _distribution(count):
    """Return the one object that stands for `count` devices: TensorFlow's variables belong to the object."""
    backend = keras.backend.backend()
    if backend == "torch":
        raise InputError(f"{count} devices on PyTorch: training takes one; use KERAS_BACKEND=jax or tensorflow")
    names = _names()
    if len(names) < count:
        raise InputError(f"{count} devices asked for: {backend} has {len(names)}, {', '.join(names)}; ask for fewer")
    if backend == "jax":
        return keras.distribution.DataParallel(devices=names[:count], auto_shard_dataset=False)
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names[:count])


def _names():
    """Return the names of the GPUs, or of the processors where there is no GPU."""
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices()
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def replicas():
    """Return how many devices compute this step, each for its part of the batch; 1 but in TensorFlow's strategies."""
    context = _replica()
    return 1 if context is None else context.num_replicas_in_sync


def sum_of_replicas(value):
    """Return the sum of what the devices computed; `value` itself where one device has the whole batch."""
    context = _replica()
    if context is None:
        return value
    return context.all_reduce("SUM", value)


def uniform(shape, generator):
    """Return numbers of [0, 1) for the images of a device's part: those that one device would draw for the whole batch.

    Args:
        shape: of the part, images first.
        generator: `keras.random.SeedGenerator`.
    """
    context = _replica()
    if context is None:
        return keras.random.uniform(shape, seed=generator)
    images = shape[0]
    drawn = keras.random.uniform((images * context.num_replicas_in_sync, *shape[1:]), seed=generator)
    begin = ops.cast(context.replica_id_in_sync_group, "int32") * images
    return drawn[begin : begin + images]


def _replica():
    """Return TensorFlow's context of one of several devices; None where one device has the whole batch."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
