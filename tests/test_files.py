"""Whole or absent; inside or refused."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl import files
from seqrl.config import NAME_PATTERN


def test_the_rule_for_names_is_the_one_of_the_specs():
    assert files._NAME.pattern == NAME_PATTERN.strip("^$")


@pytest.mark.parametrize("name", ["a", "cartpole-dt-1", "A.b_c-9", "x" * 64, "demo/dt"])
def test_good_names_pass(name):
    assert files.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "demo/../x",
        "demo/",
        "/etc/passwd",
        "a\n",
        "a\0b",
        "x" * 65,
        "-a",
        ".hidden",
        "ä",
        3,
    ],
)
def test_other_names_are_refused_with_the_value(name):
    with pytest.raises(ValueError, match="the name is"):
        files.check_name(name)


@given(st.text(max_size=80))
def test_an_accepted_name_is_one_folder_below_the_root(name):
    root = Path("/tmp/somewhere")
    try:
        path = files.inside(root, files.check_name(name))
    except ValueError:
        return
    below = path.relative_to(root.resolve())
    assert len(below.parts) == (2 if name.startswith("demo/") else 1)


@given(st.lists(st.sampled_from(["..", ".", "a", "b/c", "/", "/etc", "a/../..", "~", "\\..", ""]), max_size=5))
def test_inside_returns_paths_inside_only(parts):
    root = Path("/tmp/somewhere")
    try:
        path = files.inside(root, *parts)
    except ValueError:
        return
    assert path == root.resolve() or root.resolve() in path.parents


def test_inside_follows_links_before_it_decides(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leaves"):
        files.inside(root, "link", "secret")


def test_a_write_replaces_the_whole_content(tmp_path):
    path = tmp_path / "file"
    files.atomic_write_text(path, "a long first text")
    files.atomic_write_text(path, "ä")
    assert path.read_text() == "ä"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "folder"
    with files.atomic_folder(path) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "file").write_text("1")
        assert not path.exists()
    assert (path / "deep" / "file").read_text() == "1"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_fails_leaves_the_older_one(tmp_path):
    path = tmp_path / "folder"
    with files.atomic_folder(path) as partial:
        (partial / "file").write_text("old")
    with pytest.raises(KeyError), files.atomic_folder(path) as partial:
        (partial / "file").write_text("new")
        raise KeyError
    assert (path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_replaces_an_older_one(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    path = tmp_path / "folder"
    for text in ("old", "new"):
        with files.atomic_folder(path) as partial:
            (partial / text).write_text(text)
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_take_its_name_leaves_the_older_one(tmp_path, monkeypatch):
    path, rename = tmp_path / "folder", os.rename

    def refuse_the_new_one(one, other):
        if ".partial-" in one.name:
            raise OSError(errno.EIO, "refused")
        rename(one, other)

    with files.atomic_folder(path) as partial:
        (partial / "file").write_text("old")
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", refuse_the_new_one)
    with pytest.raises(OSError, match="refused"), files.atomic_folder(path) as partial:
        (partial / "file").write_text("new")
    assert (path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_between_two_renames_leaves_the_older_folder(tmp_path):
    path = tmp_path / "folder"
    script = f"""
        import os, signal
        from pathlib import Path
        from seqrl import files
        rename, path = os.rename, Path({str(path)!r})
        files._exchange = lambda one, other: False
        for text in ("old", "new"):
            with files.atomic_folder(path) as partial:
                (partial / "file").write_text(text)
                if text == "new":
                    os.rename = lambda one, other: (rename(one, other), os.kill(os.getpid(), signal.SIGKILL))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL and not path.exists()
    files.remove_partials(tmp_path)
    assert (path / "file").read_text() == "old"
    (tmp_path / ".folder.previous-2").mkdir()
    files.remove_partials(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_appears_only_when_it_is_whole_and_replaces_nothing(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    with pytest.raises(KeyboardInterrupt), files.new_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())
    with files.new_file(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]
    with pytest.raises(FileExistsError, match="choose another path"), files.new_file(path):
        pass
    assert path.read_text() == "whole"


def test_a_new_folder_appears_only_when_it_is_whole_and_replaces_nothing(tmp_path):
    path = tmp_path / "new" / "folder"
    with pytest.raises(KeyboardInterrupt), files.new_folder(path) as partial:
        (partial / "file").write_text("half")
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())
    path.mkdir()
    with files.new_folder(path) as partial:
        (partial / "file").write_text("whole")
    with pytest.raises(FileExistsError, match="choose another path"), files.new_folder(path) as partial:
        (partial / "file").write_text("other")
    assert (path / "file").read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    script = f"""
        import os, signal
        from pathlib import Path
        from seqrl.files import atomic_folder
        with atomic_folder(Path({str(tmp_path)!r}) / "folder") as partial:
            (partial / "file").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "folder").exists()
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "other").write_text("stays")
    files.remove_partials_of(tmp_path / "folder")
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]


def test_what_is_being_written_is_not_taken_for_what_was_left(tmp_path):
    (tmp_path / ".folder.partial-0123abcd").mkdir()
    with files.atomic_folder(tmp_path / "folder") as partial:
        (partial / "file").write_text("half")
        files.remove_partials_of(tmp_path / "folder")
        assert [entry.name for entry in tmp_path.iterdir()] == [partial.name]
    assert (tmp_path / "folder" / "file").read_text() == "half"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_keeps_the_previous_content(tmp_path):
    path = tmp_path / "file"
    files.atomic_write_bytes(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            files.atomic_write_bytes(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_read_stops_at_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read_capped(path, 5) == b"12345"
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        files.read_capped(path, 4)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        files.read_capped(tmp_path / "pipe", 10)


def test_the_hash_is_the_known_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert re.fullmatch("ba7816bf.*f20015ad", files.sha256_file(tmp_path / "abc"))


def test_free_space_is_known_for_what_does_not_exist_yet(tmp_path):
    assert files.free_bytes(tmp_path / "not" / "there") > 0
