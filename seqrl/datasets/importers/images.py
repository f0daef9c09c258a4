"""Observations that are kept as JPEG, one frame a step."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from seqrl.datasets.importers.checks import MOST_EPISODE_BYTES, check_numbers, refuse


def decode_frames(frames: Iterable[bytes], count: int, shape: tuple[int, ...], episode: int, field: str) -> np.ndarray:
    """(count, H, W, C) uint8; frames of other sizes than the space are refused before decoding.

    Raises:
        ImportRefused: naming the episode, the field and the step.
    """
    if count * int(np.prod(shape, dtype=object)) > MOST_EPISODE_BYTES:
        raise refuse(episode, field, f"claims {count:,} images of {shape}; that is more than is read at once")
    decoded = np.empty((count, *shape), dtype=np.uint8)
    for step, encoded in enumerate(frames):
        with Image.open(io.BytesIO(encoded), formats=["JPEG"]) as image:
            if (image.height, image.width) != shape[:2]:
                found = f"{image.height} × {image.width}"
                raise refuse(episode, field, f"has a frame of {found} at step {step}, not {shape}")
            pixels = check_numbers(episode, field, np.asarray(image))
        if pixels.shape != shape:
            raise refuse(episode, field, f"has a frame of shape {pixels.shape} at step {step}, not {shape}")
        decoded[step] = pixels
    return decoded
