"""A full disk costs the job that fills it, and nothing else."""

import json
import shutil
import subprocess
import sys

import pytest

NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def may_mount():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="this machine gives no mount namespaces")
def test_a_small_disk_that_fills_up(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    told = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.reliability.on_small_disk", str(home)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    lines = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    said = {line["what"]: line for line in lines if line["what"] != "page"}
    for what in ("built", "trained", "measured", "build again", "train again"):
        assert said[what]["state"] == "succeeded", said[what]
    for what in ("build", "train"):
        assert said[what]["state"] == "failed"
        assert "the disk is full" in said[what]["error"] and "free some space" in said[what]["error"]
    assert said["upload"]["left"] == 0 and "the disk is too full" in said["upload"]["error"]
    for when in ("during", "after"):
        assert said[when]["fault"] is None and said[when]["partials"] == []
        assert {name: said[when][name] for name in ("steps", "metrics", "episodes")} == {
            name: said["before"][name] for name in ("steps", "metrics", "episodes")
        }
    pages = [line for line in lines if line["what"] == "page"]
    assert len(pages) >= 8
    for page in pages:
        assert page["exceptions"] == [] and page["headings"] == 1, page
        assert all("full" in error for error in page["errors"]), page
