"""Inference whose outputs stay on the device that computed them."""

import functools

import keras


def on_device(model):
    """Return the compiled function `inputs -> model(inputs, training=False)`.

    Unlike `predict_on_batch`, it leaves the outputs on the device, where the next model can read them.

    Args:
        model: functional `keras.Model`; the function always uses its current weights.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _traced_once(model)
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


def _traced_once(model):
    """Return the function for TensorFlow: traced at its first call, for inputs of every size that the model takes."""
    import tensorflow as tf

    @functools.cache
    def compiled(*dtypes):
        # In low precision inputs that are outputs of another model have another type than Keras' own inputs.
        symbols = keras.tree.flatten(model.input)
        specs = [tf.TensorSpec(symbol.shape, dtype) for symbol, dtype in zip(symbols, dtypes, strict=True)]
        signature = [keras.tree.pack_sequence_as(model.input, specs)]
        return tf.function(lambda inputs: model(inputs, training=False), input_signature=signature, autograph=False)

    def call(inputs):
        # Where a person lets functions run eagerly, Keras takes no mix of tensors and arrays.
        tensors = keras.tree.map_structure(tf.convert_to_tensor, inputs)
        return compiled(*(tensor.dtype for tensor in keras.tree.flatten(tensors)))(tensors)

    return call
