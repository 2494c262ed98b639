"""Parts of a classifier's backbone as models of their own, built (and compiled) once for each classifier."""

import weakref

import keras

from cyclic.backbones import LEVELS

_CACHE: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def level_network(classifier: keras.Model, level: str) -> keras.Model:
    """Return the model image `[B, H, W, 3]` -> features of `level`; it shares the classifier's weights."""
    networks = _CACHE.setdefault(classifier, {})
    if level not in networks:
        backbone = classifier.get_layer("backbone")
        networks[level] = keras.Model(backbone.input, backbone.outputs[LEVELS[level][0]], name=f"to_{level}")
    return networks[level]


def trace_network(classifier: keras.Model, level: str) -> keras.Model:
    """Return the model image -> list of the image and every layer's output up to `level`, in the order of `layers`."""
    networks = _CACHE.setdefault(classifier, {})
    key = f"trace {level}"
    if key not in networks:
        network = level_network(classifier, level)
        networks[key] = keras.Model(network.input, [layer.output for layer in network.layers], name=f"trace_{level}")
    return networks[key]
