"""The device that a library computes on: its name, its memory, its precision, and waiting for it.

A backend is "tensorflow", "jax" or "torch"; without a GPU its processor stands in, whose memory no library tells.
"""

from collections.abc import Callable


def gpu_name(backend: str) -> str | None:
    """Return the name of the first GPU as the driver gives it, or None."""
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return device.device_kind if device.platform == "gpu" else None
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0])["device_name"] if devices else None


def set_precision(backend: str, precision: str) -> None:
    """Keep matrix products and convolutions of float32 numbers to float32 ("float32"), else let them use TF32."""
    tf32 = precision != "float32"
    if backend == "torch":
        import torch

        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if tf32 else "highest")
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(tf32)


def waiter(backend: str) -> Callable[[object], None]:
    """Return a function that waits until the device has done its work; it takes what that work returned."""
    if backend == "torch":
        import torch

        return lambda result: torch.cuda.synchronize() if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        return jax.block_until_ready
    import tensorflow as tf

    return lambda result: tf.test.experimental.sync_devices()


def allocated(backend: str) -> int | None:
    """Return the bytes that arrays take on the GPU now; None where the library does not tell."""
    return _memory(backend, "now")


def peak(backend: str, call: Callable) -> int | None:
    """Return the most bytes that arrays take on the GPU in `call()`; on JAX in the life of the process so far."""
    if gpu_name(backend) is None:
        return None
    if backend == "torch":
        import torch

        torch.cuda.reset_peak_memory_stats()
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")
    waiter(backend)(call())
    return _memory(backend, "peak")


def _memory(backend: str, when: str) -> int | None:
    if gpu_name(backend) is None:
        return None
    if backend == "torch":
        import torch

        return torch.cuda.memory_allocated() if when == "now" else torch.cuda.max_memory_allocated()
    if backend == "jax":
        import jax

        statistics = jax.devices()[0].memory_stats() or {}
        return statistics.get("bytes_in_use" if when == "now" else "peak_bytes_in_use")
    import tensorflow as tf

    return tf.config.experimental.get_memory_info("GPU:0")["current" if when == "now" else "peak"]
