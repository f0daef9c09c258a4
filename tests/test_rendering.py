"""A video is the measured episode, plays in a browser, and appears whole or not at all."""

from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from seqrl.config import DatasetFacts, ReturnSummary
from seqrl.environments import make_environment, space_facts
from seqrl.environments.spaces import action_decoder, encode_actions
from seqrl.rendering import NotTheRecordedEpisode, Replay, render, write_video
from seqrl.store.records import EpisodeRecord


def facts_for(
    environment: str | None, max_episode_steps: int | None = None, kwargs: dict | None = None
) -> DatasetFacts:
    known = space_facts(environment or "CartPole-v1", kwargs, max_episode_steps)
    return DatasetFacts(
        environment=environment,
        environment_kwargs=kwargs or {},
        observation=known.observation,
        action=known.action,
        episodes=1,
        steps=1,
        max_length=1,
        max_episode_steps=known.max_episode_steps,
        returns=ReturnSummary(mean=0, std=0, minimum=0, maximum=0),
        terminated_episodes=0,
        truncated_episodes=1,
        reward_minimum=0,
        reward_maximum=1,
        observation_mean=(0,) * known.observation.size,
        observation_std=(1,) * known.observation.size,
        content_hash="",
    )


def play(facts: DatasetFacts, seed: int = 7) -> EpisodeRecord:
    """An episode of random actions, recorded from a plain Gymnasium loop."""
    env = make_environment(facts.environment, facts.environment_kwargs, max_episode_steps=facts.max_episode_steps)
    env.action_space.seed(seed)
    env.reset(seed=seed)
    actions, rewards, ended = [], [], (False, False)
    while not any(ended):
        action = env.action_space.sample()
        _, reward, *ended, _ = env.step(action)
        actions.append(action)
        rewards.append(float(reward))
    rows = encode_actions(env.action_space, np.array(actions))
    env.close()
    return EpisodeRecord(
        run="dt", decoding="sampled", target=50.0, episode=3, seed=seed, terminated=ended[0], truncated=ended[1],
        actions=rows, rewards=np.array(rewards), returns_to_go=np.zeros(len(rows)),
    )  # fmt: skip


def decoded(path) -> tuple[dict, list[np.ndarray]]:
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1"])
def test_a_replay_shows_every_step_of_the_recorded_episode(environment):
    facts = facts_for(environment, max_episode_steps=25)
    record = play(facts)
    frames = list(Replay(record, facts).frames())
    assert len(frames) == record.length + 1
    assert frames[0].dtype == np.uint8
    assert any((frames[0] != frame).any() for frame in frames[1:])


def test_an_episode_that_outlasts_the_limit_of_its_facts_can_be_played_again():
    record = play(facts_for("CartPole-v1"))  # as of datasets that an earlier version combined
    shorter = facts_for("CartPole-v1", max_episode_steps=record.length - 2)
    assert record.terminated
    assert len(Replay(record, shorter, render_mode=None).observations()) == record.length + 1


def test_a_replay_gives_the_observations_that_were_seen():
    facts = facts_for("CartPole-v1")
    record = play(facts)
    env = make_environment("CartPole-v1")
    decode = action_decoder(env.action_space)
    seen = [env.reset(seed=record.seed)[0]] + [env.step(decode(action))[0] for action in record.actions]
    assert np.array_equal(Replay(record, facts, render_mode=None).observations(), np.stack(seen))


def test_another_reward_action_seed_or_end_is_not_the_recorded_episode(tmp_path):
    facts = facts_for("Pendulum-v1", max_episode_steps=12)
    record = play(facts)
    rewards = record.rewards.copy()
    rewards[5] = np.nextafter(rewards[5], 0)
    with pytest.raises(
        NotTheRecordedEpisode, match=r"episode 3 of dt \(sampled, asked for 50\) differs at step 5: the reward"
    ):
        render(tmp_path / "x.mp4", replace(record, rewards=rewards), facts)
    actions = record.actions.copy()
    actions[4] += 0.5
    with pytest.raises(NotTheRecordedEpisode, match="differs at step"):
        render(tmp_path / "x.mp4", replace(record, actions=actions), facts)
    with pytest.raises(NotTheRecordedEpisode, match="differs at step 0"):
        render(tmp_path / "x.mp4", replace(record, seed=record.seed + 1), facts)
    with pytest.raises(NotTheRecordedEpisode, match=r"differs at step 11: \(terminated, truncated\)"):
        render(tmp_path / "x.mp4", replace(record, terminated=True), facts)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_goes_on_after_the_end_is_refused(tmp_path):
    facts = facts_for("CartPole-v1")
    record = play(facts)
    longer = replace(
        record,
        actions=np.append(record.actions, 0),
        rewards=np.append(record.rewards, 1.0),
        returns_to_go=np.append(record.returns_to_go, 0.0),
    )
    with pytest.raises(NotTheRecordedEpisode, match=f"differs at step {record.length - 1}"):
        render(tmp_path / "x.mp4", longer, facts)


def test_the_mp4_is_what_browsers_play(tmp_path):
    facts = facts_for("CartPole-v1")
    record = play(facts)
    video = render(tmp_path / "episode.mp4", record, facts)
    meta, frames = decoded(video.path)
    assert (meta["codec"], meta["pix_fmt"].split("(")[0]) == ("h264", "yuv420p")
    assert meta["fps"] == video.fps == 50
    assert meta["size"] == (480, 320)
    assert len(frames) == video.frames == record.length + 1
    data = video.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert len(data) < 150_000
    drawn = list(Replay(record, facts).frames())
    for index in (0, record.length // 2, record.length):
        small = np.asarray(Image.fromarray(drawn[index]).resize((480, 320), Image.Resampling.BOX), dtype=float)
        assert np.abs(frames[index] - small).mean() < 6


def test_the_poster_is_a_middle_frame(tmp_path):
    greys = (np.full((20, 30, 3), value, dtype=np.uint8) for value in range(200))
    video = write_video(tmp_path / "x.mp4", greys, fps=10)
    with Image.open(video.poster) as poster:
        assert poster.size == (30, 20)
        assert abs(int(np.asarray(poster).mean()) - 100) <= 8


def test_a_gif_loops_and_keeps_the_duration(tmp_path):
    facts = facts_for("CartPole-v1")
    record = play(facts)
    video = render(tmp_path / "episode.gif", record, facts, format="gif")
    with Image.open(video.path) as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        duration_ms = 0
        for index in range(image.n_frames):
            image.seek(index)
            duration_ms += image.info["duration"]
    assert duration_ms == pytest.approx(1000 * video.frames / 50, abs=80)


def test_speed_changes_the_frame_rate_and_drops_nothing(tmp_path):
    frames = [np.full((16, 16, 3), 100, dtype=np.uint8)] * 30
    video = write_video(tmp_path / "x.mp4", iter(frames), fps=10, speed=2)
    meta, shown = decoded(video.path)
    assert meta["fps"] == 20
    assert len(shown) == 30


def test_odd_sizes_become_even(tmp_path):
    video = write_video(tmp_path / "x.mp4", iter([np.full((31, 33, 3), 90, dtype=np.uint8)] * 3), fps=10)
    assert decoded(video.path)[0]["size"] == (32, 30)


def test_black_frames_are_refused(tmp_path, monkeypatch):
    facts = facts_for("CartPole-v1")
    record = play(facts)
    player = Replay(record, facts)
    monkeypatch.setattr(player.env.unwrapped, "render", lambda: np.zeros((40, 60, 3), dtype=np.uint8))
    with pytest.raises(NotTheRecordedEpisode, match="every frame of episode 3 of dt .* is black"):
        write_video(tmp_path / "x.mp4", player.frames(), player.fps)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_show_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no frame"):
        write_video(tmp_path / "x.mp4", iter([]), fps=10)
    with pytest.raises(ValueError, match="names no environment"):
        Replay(play(facts_for("CartPole-v1")), facts_for(None))
