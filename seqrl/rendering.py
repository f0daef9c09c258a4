"""From a recorded episode to its video: the recorded actions are played again, and must earn the recorded rewards.

A video is therefore the measured episode itself, never another one like it. Rendering happens where this is
called, in one thread from creation to the last frame: MuJoCo draws black otherwise.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.environments.replay import NotTheRecordedEpisode, Replay
from seqrl.files import atomic_write_bytes
from seqrl.store.records import EpisodeRecord

__all__ = ["NotTheRecordedEpisode", "Replay", "Video", "render", "write_video"]

VIDEO_WIDTH = 480
"""Widest video in pixels: legible in a page column, and a CartPole episode stays near 40 KB."""

_H264 = ("-preset", "veryfast", "-crf", "23", "-g", "24", "-movflags", "+faststart")
"""A key frame every 24 frames: the Episode lab decodes from one to the next, and a file grows by a fifth."""

_GIF_FPS = 25


@dataclass(frozen=True)
class Video:
    """What `render` wrote.

    Attributes:
        path: the video.
        poster: PNG of its middle frame.
        frames: how many frames, one more than the episode has steps.
        fps: frames per second.
    """

    path: Path
    poster: Path
    frames: int
    fps: float


def write_video(
    path: Path,
    frames: Iterator[np.ndarray],
    fps: float,
    *,
    format: Literal["mp4", "gif"] = "mp4",
    width: int = VIDEO_WIDTH,
    speed: float = 1.0,
) -> Video:
    """Encode frames as they come; the file appears whole or not at all.

    MP4 is H.264 in yuv420p with its index in front: it plays in every browser and starts before it is loaded. GIF
    takes 25 frames a second at most, which is what browsers keep up with.

    Args:
        path: where to; the poster gets the same name with ``.png``.
        frames: (height, width, 3) uint8, all of one size.
        fps: frames per second of the environment.
        format: container.
        width: of the video in pixels at most; smaller frames are not enlarged.
        speed: 2 plays twice as fast.

    Returns:
        What was written.

    Raises:
        ValueError: if there is no frame.
    """
    import imageio_ffmpeg

    first: np.ndarray | None = next(frames, None)
    if first is None:
        raise ValueError(f"there is no frame to write to {path}; give at least one")
    height, available = first.shape[:2]
    even = min(width, available) // 2 * 2
    size = (even, max(round(height * even / available / 2) * 2, 2))
    rate = fps * speed
    with tempfile.TemporaryDirectory(prefix="seqrl-video-") as folder:
        partial = Path(folder) / f"video.{format}"
        encoder = imageio_ffmpeg.write_frames(
            str(partial),
            (available, height),
            fps=rate,
            quality=None,
            macro_block_size=1,  # the scale filter already makes both sides even
            ffmpeg_log_level="error",
            **_encoding(format, size, rate),
        )
        posters = _MiddleFrame()
        with closing(encoder):
            encoder.send(None)
            for frame in chain([first], frames):
                encoder.send(np.ascontiguousarray(frame))
                posters.see(frame)
        data = partial.read_bytes()
    poster = path.with_suffix(".png")
    atomic_write_bytes(poster, _png(posters.middle(), size))
    atomic_write_bytes(path, data)
    return Video(path=path, poster=poster, frames=posters.seen, fps=rate)


def render(
    path: Path, record: EpisodeRecord, facts: DatasetFacts, *, format: Literal["mp4", "gif"] = "mp4", speed: float = 1.0
) -> Video:
    """Replay a record into a video, checking each reward on the way.

    Raises:
        NotTheRecordedEpisode: if the replay is not the recorded episode; nothing is written then.
        ValueError: if there is no environment to replay it in.
    """
    player = Replay(record, facts)
    return write_video(path, player.frames(), player.fps, format=format, speed=speed)


def _encoding(format: str, size: tuple[int, int], rate: float) -> dict[str, Any]:
    scale = f"scale={size[0]}:{size[1]}:flags=area"
    if format == "mp4":
        return {"codec": "libx264", "pix_fmt_out": "yuv420p", "output_params": ["-vf", scale, *_H264]}
    palette = "split[a][b];[a]palettegen=max_colors=64[p];[b][p]paletteuse=dither=none"
    filters = f"[0:v]fps={min(rate, _GIF_FPS):g},{scale},{palette}"
    return {"codec": "gif", "pix_fmt_out": "pal8", "output_params": ["-filter_complex", filters, "-loop", "0"]}


class _MiddleFrame:
    """Keeps the middle frame of a stream of unknown length, holding about 32 frames at a time."""

    def __init__(self) -> None:
        self.seen = 0
        self._every = 1
        self._kept: list[np.ndarray] = []

    def see(self, frame: np.ndarray) -> None:
        if self.seen % self._every == 0:
            self._kept.append(frame.copy())
            if len(self._kept) > 32:
                self._kept = self._kept[::2]
                self._every *= 2
        self.seen += 1

    def middle(self) -> np.ndarray:
        return self._kept[min((self.seen // 2) // self._every, len(self._kept) - 1)]


def _png(frame: np.ndarray, size: tuple[int, int]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).resize(size, Image.Resampling.BOX).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
