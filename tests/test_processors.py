"""How many processors a process may use: affinity, and the limits of containers."""

import pytest

from seqrl import processors as counting


@pytest.fixture
def control(tmp_path, monkeypatch):
    """The files of a container's control group, on a machine that gives this process eight processors."""
    monkeypatch.setattr(counting, "_CONTROL", tmp_path)
    monkeypatch.setattr(counting.os, "sched_getaffinity", lambda pid: set(range(8)))
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
    ],
)
def test_a_container_takes_no_more_than_its_share(control, quota, processors):
    (control / "cpu.max").write_text(f"{quota}\n")
    assert counting.processors() == processors


@pytest.mark.parametrize(("quota", "processors"), [("-1", 8), ("300000", 3)])
def test_control_groups_of_the_first_version_are_read_too(control, quota, processors):
    (control / "cpu").mkdir()
    (control / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (control / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert counting.processors() == processors


def test_without_control_groups_the_affinity_counts(control):
    assert counting.processors() == 8
