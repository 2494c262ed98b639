"""Optimizers that cost less: the same steps as Keras' own, and nothing computed before the gradients are there."""

import keras
import numpy as np
import pytest

from cyclic.mrcnn.kernels.optimizers import after_gradients, in_one_pass

SETTINGS = {
    "SGD": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.3, "global_clipnorm": 1.0},
    "AdamW": {"learning_rate": 0.1, "weight_decay": 0.3, "global_clipnorm": 1.0, "gradient_accumulation_steps": 2},
}


def weights_after_steps(optimizer):
    """Return the weights of two variables after four steps."""
    variables = [
        keras.Variable(value) for value in (np.arange(6.0, dtype="float32").reshape(2, 3), np.ones(3, "float32"))
    ]
    for step in range(4):
        optimizer.apply([keras.ops.full((2, 3), step - 1.5), keras.ops.full((3,), 2.0)], variables)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


@pytest.mark.parametrize("name", SETTINGS)
def test_same_steps_as_keras(name):
    keras_own, ours = (
        wrap(getattr(keras.optimizers, name)(**SETTINGS[name])) for wrap in (lambda each: each, after_gradients)
    )
    for expected, found in zip(weights_after_steps(keras_own), weights_after_steps(ours), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("accumulated", [None, 2])
def test_adam_in_one_pass_takes_the_steps_of_keras(accumulated):
    settings = {**SETTINGS["AdamW"], "gradient_accumulation_steps": accumulated}
    keras_own, ours = (wrap(keras.optimizers.AdamW(**settings)) for wrap in (lambda each: each, in_one_pass))
    if keras.backend.backend() == "tensorflow":
        assert ours.update_step.__module__ == in_one_pass.__module__
    for expected, found in zip(weights_after_steps(keras_own), weights_after_steps(ours), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_variable_without_gradient():
    used, unused = keras.Variable(np.ones(2, "float32")), keras.Variable(np.ones(2, "float32"))
    optimizer = after_gradients(keras.optimizers.SGD(learning_rate=1.0))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([keras.ops.ones(2), None], [used, unused])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(used), [0, 0])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(unused), [1, 1])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow orders operations by their inputs")
def test_weight_decay_waits_for_the_gradients():
    import tensorflow as tf

    variable = keras.Variable(np.ones(2, "float32"))
    optimizer = after_gradients(keras.optimizers.SGD(learning_rate=0.1, weight_decay=0.5))
    optimizer.build([variable])

    @tf.function
    def step(gradient):
        gradient = tf.identity(gradient, name="the_gradient")
        optimizer.apply([gradient], [variable])

    graph = step.get_concrete_function(tf.TensorSpec((2,), tf.float32)).graph
    updates = [operation for operation in graph.get_operations() if operation.type == "AssignSubVariableOp"]
    assert len(updates) == 2  # the decay and the step
    for update in updates:
        assert "the_gradient" in _ancestors(update)


def _ancestors(operation):
    """Return the names of all operations that run before `operation`."""
    seen, todo = set(), [operation]
    while todo:
        current = todo.pop()
        if current.name not in seen:
            seen.add(current.name)
            todo += [tensor.op for tensor in current.inputs] + list(current.control_inputs)
    return seen
