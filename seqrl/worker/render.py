"""Carry out a render job."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seqrl.config import RenderSpec
from seqrl.worker.context import JobContext, Stopped


def run(context: JobContext, spec: RenderSpec) -> None:
    """Replay a recorded episode into the media folder; does nothing when it is there already."""
    from seqrl.rendering import Replay, write_video

    path = context.store.media_path(spec.sweep, spec.episode_id, spec.format)
    if path.is_file():
        return
    record = context.store.episode_record(spec.sweep, spec.episode_id)
    player = Replay(record, context.store.episode_facts(spec.sweep, record))

    def watched() -> Iterator[np.ndarray]:
        for number, frame in enumerate(player.frames()):
            if context.should_stop():
                raise Stopped
            context.progress(number / (record.length + 1), f"frame {number} of {record.length + 1}")
            yield frame

    write_video(path, watched(), player.fps, format=spec.format)
