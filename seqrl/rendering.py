"""From a recorded episode to its video: the recorded actions are played again, and must earn the recorded rewards.

A video is therefore the measured episode itself, never another one like it. Rendering happens where this is
called, in one thread from creation to the last frame: MuJoCo draws black otherwise.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.environments import make_environment
from seqrl.environments.spaces import action_decoder, observation_encoder
from seqrl.files import atomic_write_bytes
from seqrl.store.records import EpisodeRecord

VIDEO_WIDTH = 480
"""Widest video in pixels: legible in a page column, and a CartPole episode stays near 40 KB."""

_H264 = ("-preset", "veryfast", "-crf", "23", "-movflags", "+faststart")
_DARKEST_VISIBLE = 16
_GIF_FPS = 25


class NotTheRecordedEpisode(ValueError):
    """A replay that is not what was measured, or cannot be seen; says where and what to do."""


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


class Replay:
    """Plays one record again in a freshly seeded environment. Read `frames` or `observations`, once.

    Args:
        record: what was measured.
        facts: of the data its run learned from; they name the environment.
        render_mode: None when no picture is wanted.

    Raises:
        ValueError: if the data has no environment, or it is not installed.
    """

    def __init__(self, record: EpisodeRecord, facts: DatasetFacts, render_mode: str | None = "rgb_array") -> None:
        if facts.environment is None:
            raise ValueError(f"the data of {record.run} names no environment; its episodes cannot be played again")
        os.environ.setdefault(
            "SDL_VIDEODRIVER", "dummy"
        )  # pygame draws into arrays here; it need not look for a screen
        self.record = record
        self.env = make_environment(
            facts.environment,
            facts.environment_kwargs,
            max_episode_steps=facts.step_limit,
            render_mode=render_mode,
        )
        self.fps = float(self.env.metadata.get("render_fps") or 30)

    def frames(self) -> Iterator[np.ndarray]:
        """T+1 images (height, width, 3) uint8, the first before any action.

        Raises:
            NotTheRecordedEpisode: if a reward or the end differs from the record, or if every frame is black.
        """
        bright = False
        for _ in self._states():
            frame = np.asarray(self.env.render())
            bright = bright or bool(frame[::8, ::8].max() >= _DARKEST_VISIBLE)
            yield frame
        if not bright:
            renderer = os.environ.get("MUJOCO_GL", "")
            raise NotTheRecordedEpisode(
                f"every frame of {self._name()} is black; set MUJOCO_GL to "
                f"{'osmesa' if renderer == 'egl' else 'egl'} and render again"
            )

    def observations(self) -> np.ndarray:
        """(T+1, *observation) float32 or uint8, flattened as the model saw them.

        Raises:
            NotTheRecordedEpisode: as `frames`.
        """
        encode = observation_encoder(self.env.observation_space)
        return np.stack([encode(state) for state in self._states()])

    def _states(self) -> Iterator[Any]:
        decode = action_decoder(self.env.action_space)
        try:
            observation, _ = self.env.reset(seed=self.record.seed)
            yield observation
            for step, action in enumerate(self.record.actions):
                observation, reward, terminated, truncated, _ = self.env.step(decode(action))
                self._compare(step, float(reward), (bool(terminated), bool(truncated)))
                yield observation
        finally:
            self.env.close()

    def _compare(self, step: int, reward: float, ends: tuple[bool, bool]) -> None:
        record = self.record
        recorded = float(record.rewards[step])
        last = step == record.length - 1
        recorded_ends = (record.terminated, record.truncated) if last else (False, False)
        if reward != recorded:
            difference = f"the reward is {reward!r}, recorded was {recorded!r}"
        elif ends != recorded_ends:
            difference = f"(terminated, truncated) is {ends}, recorded was {recorded_ends}"
        else:
            return
        raise NotTheRecordedEpisode(
            f"the replay of {self._name()} differs at step {step}: {difference}; "
            "this is not the environment it was measured in, run the sweep again"
        )

    def _name(self) -> str:
        record = self.record
        asked = "" if record.target is None else f", asked for {record.target:g}"
        return f"episode {record.episode} of {record.run} ({record.decoding}{asked})"


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
