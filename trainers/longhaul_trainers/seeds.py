"""Deriving seeds by name, so that no two uses of randomness share a stream."""

import hashlib


def derive_seed(master: int, *labels: str | int) -> int:
    """A seed in [0, 2^63) that depends on the master seed and the labels alone.

    The labels are joined unambiguously and hashed with SHA-256, so the value is the same on every
    machine and for every version.
    """
    text = "\x1f".join(str(part) for part in (master, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
