"""Checkpoints: weights, and all that training needs to go on as if it had never stopped.

Groups of the file hold the optimizer's variables (`optimizer_weights`) and the state of the network's random generators
(`random_state`). Attributes hold the seed of the data stream and the settings of the call of `train`. Programs that
read only weights, such as Matterport's, do not see these.
"""

import hashlib

import numpy as np

from cyclic import fitting
from cyclic.errors import InputError
from cyclic.mrcnn.weights import h5

OPTIMIZER, RANDOM = "optimizer_weights", "random_state"


def run_settings(model, config, layers, learning_rate):
    """Return the settings of a call of `train` that decide whether a later call can go on with its optimizer.

    Args:
        model: the training model, its trainable layers chosen.
        config: `config.Config`.
        layers, learning_rate: as given to the call.
    """
    trainable = "\n".join(weight.path for weight in model.trainable_weights)
    return {
        "optimizer": config.OPTIMIZER,
        "accumulation": config.GRADIENT_ACCUMULATION_STEPS,
        "precision": model.dtype_policy.name,
        "layers": layers,
        "learning_rate": float(learning_rate),
        "trainable": hashlib.sha256(trainable.encode()).hexdigest(),
    }


def save_checkpoint(path, network, model, epoch, steps, settings, seed):
    """Write a checkpoint.

    Args:
        path: file to write.
        network: `network.Network` whose weights to save.
        model: compiled training model of the network.
        epoch: epochs trained so far.
        steps: batches since the optimizer was new.
        settings: see `run_settings`.
        seed: seed of the data stream.
    """
    groups = {
        OPTIMIZER: {name: variable.numpy() for name, variable in _state(model.optimizer).items()},
        RANDOM: {name: variable.numpy() for name, variable in generators(model).items()},
    }
    h5.save_weights(path, network, {"epoch": epoch, "steps": steps, "data_seed": seed, **settings}, groups)


def can_resume(path, settings):
    """Return whether the file `path` is a checkpoint of a call of `train` with these settings."""
    attributes = h5.read_attributes(path)
    return all(attributes.get(name) == value for name, value in settings.items())


def steps_done(path):
    """Return how many batches the optimizer of the checkpoint `path` has seen, including batches it skipped."""
    return int(h5.read_attributes(path)["steps"])


def restore(path, model):
    """Put the optimizer and the random generators of `model` where the checkpoint `path` left them.

    Returns:
        The seed of the data stream.

    Raises:
        InputError: the file holds the variables of another optimizer, or is damaged.
    """
    for group, variables in ((OPTIMIZER, _state(model.optimizer)), (RANDOM, generators(model))):
        arrays = h5.read_group(path, group)
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        if {name: array.shape for name, array in arrays.items()} != shapes:
            raise InputError(f"{path}: {group} of another model; load a copy of another name to train on from it")
        h5.check_group(path, group)
        for name, variable in variables.items():
            variable.assign(arrays[name])
    return int(h5.read_attributes(path)["data_seed"])


def not_finite(network):
    """Return the name of a layer with NaN or infinity among its weights, or None."""
    for name, layer in h5.leaf_layers(network).items():
        if not all(np.isfinite(weight.numpy()).all() for weight in layer.weights):
            return name
    return None


def _state(optimizer):
    """Return `{name: variable}` of an optimizer: momentum, accumulated gradients, steps, and the scale of the loss.

    The learning rate and its schedule are what `train` was called with, not part of the state. A LossScaleOptimizer
    lists two step counters of one name: first its own, which is unused, then that of the optimizer it wraps. The later
    one is kept here.
    """
    return {variable.name: variable for variable in optimizer.variables if variable.name not in fitting.RATES}


def generators(model):
    """Return `{number: state variable}` of the model's random generators; Keras gives them all one path."""
    states = [variable for variable in model.variables if "seed_generator" in variable.path]
    return {str(number): state for number, state in enumerate(states)}
