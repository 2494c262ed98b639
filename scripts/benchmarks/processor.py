"""What the processor of this machine is, and what it can compute in."""

import platform

# Instructions that multiply bfloat16 numbers; without them each product goes by float32.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def model_name() -> str:
    """Return the processor's name, as far as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def bfloat16_instructions() -> list[str]:
    """Return those of `BFLOAT16_INSTRUCTIONS` that the processor has; none where the system does not tell."""
    return [name for name in BFLOAT16_INSTRUCTIONS if name in _cpuinfo("flags").split()]


def bfloat16_limit() -> str:
    """Return in one sentence what bounds the speed of mixed_bfloat16 here."""
    present = bfloat16_instructions()
    if present:
        return f"the processor multiplies bfloat16 ({', '.join(present)})"
    missing = " nor ".join(BFLOAT16_INSTRUCTIONS)
    return f"the processor has neither {missing}: every product is converted to float32 and back"


def _cpuinfo(key: str) -> str:
    """Return the first value of `key` in Linux's list of processors; empty on other systems."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key)), "")
    except OSError:
        return ""
