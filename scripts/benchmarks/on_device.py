"""Contenders of the GPU benchmark: a call ends when the device is done, and memory is that of the device.

Keras is imported by our contenders alone: beside TensorFlow in one process, PyTorch stands still.
"""

from benchmarks import accelerator, ours, torchvision_peer


class OnDevice:
    """A contender on the device of a library.

    Args:
        backend: the library, see `accelerator`.
        maker: function from settings to the contender, which computes on that device.
        settings: dict; its "precision" is set for the library.
    """

    def __init__(self, backend: str, maker, settings: dict):
        accelerator.set_precision(backend, settings["precision"])
        self._backend, self._wait = backend, accelerator.waiter(backend)
        before = accelerator.allocated(backend)
        self.contender = maker(settings)
        self()
        # Weights and the like: another contender of this process may hold memory, too.
        self._own = None if before is None else accelerator.allocated(backend) - before
        self.facts = self.contender.facts

    def __call__(self) -> None:
        self._wait(self.contender())

    def memory(self) -> tuple[int | None, int | None]:
        """Return the most bytes on the device that a call takes, and those taken between the calls."""
        if self._own is None:
            return None, None
        before = accelerator.allocated(self._backend)
        return accelerator.peak(self._backend, self.contender) - before + self._own, self._own


def our_step(settings: dict) -> OnDevice:
    import keras

    from benchmarks.work import step_operations, training_operations

    contender = OnDevice(keras.backend.backend(), ours.TrainingStep, settings)
    work = training_operations(contender.contender.keras_model.network)
    contender.facts["gflop"] = step_operations(work) / 1e9
    return contender


def our_detection(settings: dict) -> OnDevice:
    import keras

    return OnDevice(keras.backend.backend(), ours.Detect, settings)


def peer_step(settings: dict) -> OnDevice:
    return OnDevice("torch", torchvision_peer.TrainingStep, settings)


def peer_detection(settings: dict) -> OnDevice:
    return OnDevice("torch", torchvision_peer.Detect, settings)
