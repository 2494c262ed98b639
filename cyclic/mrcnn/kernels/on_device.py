"""Inference whose outputs stay on the device that computed them."""

import keras


def on_device(model):
    """Return the compiled function `inputs -> model(inputs, training=False)`.

    Unlike `predict_on_batch`, it leaves the outputs on the device, where the next model can read them.

    Args:
        model: built `keras.Model`; the function always uses its current weights.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True, autograph=False)
    if backend == "jax":
        import jax

        @jax.jit
        def compiled(values, inputs):
            with keras.StatelessScope(state_mapping=zip(model.variables, values, strict=True)):
                return model(inputs, training=False)

        return lambda inputs: compiled([variable.value for variable in model.variables], inputs)
    import torch

    @torch.no_grad()
    def call(inputs):
        return model(keras.tree.map_structure(keras.ops.convert_to_tensor, inputs), training=False)

    return call
