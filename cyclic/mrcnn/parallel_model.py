"""Matterport's `parallel_model`: the name is here, for the message that says what to do instead."""

from cyclic.errors import InputError


class ParallelModel:
    """Matterport's model for several GPUs, which this package does not have.

    Args:
        keras_model: the model to copy to each GPU.
        gpu_count: number of GPUs.

    Raises:
        InputError: always.
    """

    def __init__(self, keras_model, gpu_count):
        raise InputError(
            f"ParallelModel: a model stays on one device, and GPU_COUNT = {gpu_count} only multiplies the batch; "
            "use keras_model itself"
        )
