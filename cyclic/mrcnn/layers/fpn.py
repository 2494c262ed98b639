"""Feature pyramid network: C2..C5 of a backbone to P2..P6 of one width."""

import keras

from cyclic.backbones.conv import Conv2D, Conv2DSame


def build_fpn(channels_in, channels):
    """Build the top-down pyramid (Lin et al. 2017) with Matterport's layer names.

    Args:
        channels_in: channels of C2, C3, C4 and C5.
        channels: channels of every output level.

    Returns:
        `keras.Model` "fpn": `[C2, C3, C4, C5]` (strides 4..32) -> `[P2, P3, P4, P5, P6]` (strides 4..64).
    """
    c2, c3, c4, c5 = inputs = [keras.Input((None, None, c), name=f"c{i}") for i, c in enumerate(channels_in, 2)]

    def merge(upper, lateral, level):
        upsampled = keras.layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(upper)
        conv = Conv2D(channels, 1, name=f"fpn_c{level}p{level}")(lateral)
        return keras.layers.Add(name=f"fpn_p{level}add")([upsampled, conv])

    m5 = Conv2D(channels, 1, name="fpn_c5p5")(c5)
    m4 = merge(m5, c4, 4)
    m3 = merge(m4, c3, 3)
    m2 = merge(m3, c2, 2)
    outputs = [Conv2DSame(channels, 3, name=f"fpn_p{level}")(x) for level, x in ((2, m2), (3, m3), (4, m4), (5, m5))]
    outputs.append(keras.layers.MaxPooling2D(1, strides=2, name="fpn_p6")(outputs[-1]))
    return keras.Model(inputs, outputs, name="fpn")
