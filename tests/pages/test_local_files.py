import pytest

from pages.shared.local_files import local_minari, readable_path


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    monkeypatch.setenv("SEQRL_IMPORT_ROOT", str(root))
    return root


def test_paths_inside_the_allowed_folder_are_read(root):
    assert readable_path(f" {root}/inner ") == root / "inner"
    assert readable_path("inner") == root / "inner"


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "inner/../../secret", "link/passwd", "~nobody-at-all/x"])
def test_paths_outside_of_it_are_not(root, path):
    (root / "link").symlink_to("/etc")
    with pytest.raises(ValueError, match="is not inside .*SEQRL_IMPORT_ROOT"):
        readable_path(path)


def test_what_does_not_exist_is_said(root):
    with pytest.raises(ValueError, match="does not exist"):
        readable_path("nothing.npz")


def test_minari_datasets_of_this_machine_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert local_minari() == {}
    for name in ("mujoco/hopper/expert-v0", "walks-v0"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / "metadata.json").write_text("{}")
    (tmp_path / "mujoco" / "namespace_metadata.json").write_text("{}")
    assert list(local_minari()) == ["mujoco/hopper/expert-v0", "walks-v0"]
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "nowhere"))
    assert local_minari() == {}
