"""The recorded actions of an episode, played again: they must earn the recorded rewards.

Whatever shows an episode (its video, the observations that a model saw) comes from here, so it is the measured
episode itself and never another one like it. A replay stays in one thread from creation to the last frame: MuJoCo
draws black otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.environments.making import make_environment
from seqrl.environments.spaces import action_decoder, observation_encoder
from seqrl.store.records import EpisodeRecord

_DARKEST_VISIBLE = 16


class NotTheRecordedEpisode(ValueError):
    """A replay that is not what was measured, or cannot be seen; says where and what to do."""


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
            max_episode_steps=record.length if record.truncated else max(facts.step_limit, record.length + 1),
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
            "this is not the environment it was recorded in, record it again"
        )

    def _name(self) -> str:
        record = self.record
        asked = "" if record.target is None else f", asked for {record.target:g}"
        return f"episode {record.episode} of {record.run} ({record.decoding}{asked})"
