"""Pieces of sweeps: they cover it once, whatever the number of workers, and only machines like ours measure them."""

import doctest
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl.checkpoints import read_files
from seqrl.config import BeamSweepSpec, ReturnSweepSpec
from seqrl.evaluation import Cell, sweep_cells
from seqrl.store import Store
from seqrl.store.episodes import decode, encode
from seqrl.worker import pieces
from tests.specs import sweep_spec

BUNDLED = "demo/dt"


def sweep(**changes):
    return sweep_spec("s", runs=(BUNDLED,), **changes)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """Spec and facts of a bundled run, and the files of its checkpoint."""
    store = Store(tmp_path_factory.mktemp("bundled"))
    row = store.run(BUNDLED)
    return {BUNDLED: (row.spec, row.facts)}, read_files(store.run_folder(BUNDLED))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 600), st.data())
def test_every_episode_that_is_left_is_in_one_piece(bundled, targets, episodes, workers, data):
    spec = sweep(targets=tuple(float(target) for target in range(targets)), episodes=episodes)
    cells = sweep_cells(spec, bundled[0])
    done = set(data.draw(st.lists(st.sampled_from(cells))))
    cut = list(pieces.return_pieces(spec, bundled[0], {BUNDLED: "abc"}, {tuple(cell) for cell in done}, workers))
    found = Counter(
        (Cell(piece.run, point.decoding, point.target), episode)
        for piece in cut
        for point in piece.points
        for episode in range(point.first, point.stop)
    )
    assert found == Counter((cell, episode) for cell in cells if cell not in done for episode in range(episodes))
    assert all(piece.episodes <= 512 for piece in cut)


def test_a_point_of_a_beam_sweep_is_cut_where_its_episodes_are_planned_together():
    spec = BeamSweepSpec(name="s", runs=("tt",), widths=(0, 2), horizons=(3,), episodes=70, planning={"plan_every": 1})
    cut = list(pieces.beam_pieces(spec, {"tt": "abc"}, {("tt", 0, 0)}))
    assert [(piece.width, piece.horizon, piece.first, piece.stop) for piece in cut] == [(2, 3, 0, 64), (2, 3, 64, 70)]
    assert [piece.episodes for piece in cut] == [64, 6]


@pytest.fixture
def piece(bundled):
    """A piece as it is sent, and the files of its checkpoint."""
    runs, files = bundled
    spec = sweep(targets=(20.0,), episodes=3, decodings=("sampled",))
    (only,) = pieces.return_pieces(spec, runs, {BUNDLED: pieces.digest(*files)}, (), 1)
    return json.loads(only.model_dump_json()), files


def test_a_piece_is_measured_from_json_and_bytes(piece):
    plain, files = piece
    assert plain["sweep"]["precision"] in ("fp32", "bf16")  # settled where the sweep was submitted
    records = decode(pieces.measure(json.dumps(plain), *files))
    assert {(record.run, record.target) for record in records} == {(BUNDLED, 20.0)}
    assert sorted(record.episode for record in records) == [0, 1, 2]


def test_a_machine_with_other_versions_measures_nothing(piece):
    plain, files = piece
    plain["versions"]["torch"] = "1.0"
    with pytest.raises(ValueError, match="a machine of the cluster has torch .* submitted with 1.0; install the same"):
        pieces.measure(json.dumps(plain), *files)


def test_another_checkpoint_measures_nothing(piece):
    plain, (about, weights) = piece
    with pytest.raises(ValueError, match="the checkpoint of demo/dt that arrived is not the one that was sent"):
        pieces.measure(json.dumps(plain), about, weights + b"\0")


def test_records_come_back_as_they_were_sent(piece):
    plain, files = piece
    data = pieces.measure(json.dumps(plain), *files)
    records = decode(data)
    assert encode(records) == data
    assert all(record.action_probabilities.dtype == np.float32 for record in records)


def test_the_digest_tells_the_two_files_apart():
    assert pieces.digest(b"ab", b"c") != pieces.digest(b"a", b"bc")


def test_examples():
    assert doctest.testmod(pieces).failed == 0


def test_a_sweep_is_not_changed_by_being_cut(bundled):
    spec = sweep()
    (piece, *_) = pieces.return_pieces(spec, bundled[0], {BUNDLED: "abc"}, (), 1)
    assert piece.sweep.model_copy(update={"precision": spec.precision}) == spec
    assert isinstance(piece.sweep, ReturnSweepSpec)
