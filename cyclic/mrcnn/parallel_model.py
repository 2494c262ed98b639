"""Matterport's `parallel_model`: the name is here, for the message that says what to do instead."""

from cyclic.errors import InputError


class ParallelModel:
    """Matterport's copy of a model on several GPUs; here `MaskRCNN` itself trains on GPU_COUNT of them.

    Args:
        keras_model: the model to copy to each GPU.
        gpu_count: number of GPUs.

    Raises:
        InputError: always.
    """

    def __init__(self, keras_model, gpu_count):
        raise InputError(
            f"ParallelModel: MaskRCNN trains on GPU_COUNT = {gpu_count} devices by itself; use its train(), or "
            "keras_model"
        )
