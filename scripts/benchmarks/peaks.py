"""Peak arithmetic rates of well-known cards, from NVIDIA's data sheets."""

import re

# Pattern of the device's name: 10^12 floating-point operations a second of matrix products in TF32, bfloat16 and
# float32, without sparsity. None where the card has no units for the format and computes in float32.
PEAKS = {
    r"H100.*PCIe": (378.0, 756.5, 51.0),
    r"H[12]00(?!.*NVL)": (494.7, 989.4, 66.9),
    r"A100": (156.0, 312.0, 19.5),
    r"L40S": (183.0, 362.05, 91.6),
    r"RTX 4090(?! D| Laptop)": (82.6, 165.2, 82.6),
    r"T4$": (None, None, 8.1),
    r"V100.*PCIE": (None, None, 14.0),
    r"V100.*SXM2": (None, None, 15.7),
}
FORMATS = ("tf32", "mixed_bfloat16", "float32")


def peak_tflops(device: str, precision: str) -> float | None:
    """Return 10^12 operations a second that the card `device` reaches at most, or None for an unknown card.

    Args:
        device: name as the driver gives it, e.g. "NVIDIA H100 80GB HBM3".
        precision: one of `FORMATS`; float32 is without TF32.
    """
    for pattern, rates in PEAKS.items():
        if re.search(pattern, device):
            return rates[FORMATS.index(precision)] or rates[-1]
    return None
