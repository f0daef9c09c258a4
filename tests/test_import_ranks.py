"""A module imports lower ranks only; pages import little, and nothing heavy (DESIGN, section 2)."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

RANKS = {
    "config": 0,
    "files": 0,
    "mapped": 0,
    "processors": 0,
    "plots": 1,
    "ensembles": 0,
    "graphs": 0,
    "units": 0,
    "registry": 1,
    "tokens": 1,
    "store": 1,
    "calibration": 1,
    "jobs": 2,
    "report": 2,
    "environments": 2,
    "grids": 3,
    "datasets": 3,
    "windows": 3,
    "models": 4,
    "checkpoints": 5,
    "huggingface": 6,
    "training": 6,
    "policies": 6,
    "policy_training": 6,
    "planning": 6,
    "evaluation": 7,
    "beam_evaluation": 7,
    "open_loop": 7,
    "rendering": 7,
    "probe": 7,
    "worker": 8,
    "cli": 9,
    "__main__": 10,  # starts the command line, and nothing imports it
}
FOR_PAGES = {
    "config",
    "files",
    "plots",
    "registry",
    "tokens",
    "store",
    "jobs",
    "grids",
    "calibration",
    "ensembles",
    "graphs",
    "report",
    "processors",
}
INSIDE_FUNCTIONS = {"probe"}
HEAVY = {"torch", "gymnasium", "minari", "h5py", "mujoco", "tensorboard", "imageio", "ray"}
STARTS_PROCESSES = {f"seqrl/jobs/{name}.py" for name in ("backend", "helpers", "ray_cluster", "standby", "torchrun")}

CORE = sorted(path.relative_to(ROOT) for path in (ROOT / "seqrl").rglob("*.py"))
PAGES = sorted(path.relative_to(ROOT) for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")] if path.is_file())


def imports(path):
    """(module, whether the import is inside a function) of everything that a file imports while it runs."""
    tree = ast.parse((ROOT / path).read_text())
    inside, typing_only = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside.update(map(id, ast.walk(node)))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            typing_only.update(map(id, ast.walk(node)))
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            yield node.module, id(node) in inside
            if node.module in ("seqrl", "pages", "pages.shared"):
                yield from ((f"{node.module}.{alias.name}", id(node) in inside) for alias in node.names)


def part(module):
    """The ranked part that a module of seqrl belongs to: ``seqrl.store.rows`` → ``store``."""
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "seqrl" and len(pieces) > 1 and not pieces[1].startswith("__version") else None


def part_of_file(path):
    return path.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", CORE, ids=str)
def test_a_module_imports_lower_ranks_only(path):
    own = part_of_file(path)
    if own == "__init__":
        assert not [module for module, _ in imports(path) if part(module)]
        return
    assert own in RANKS, f"{own} has no rank; give it one here and in the design"
    for module, _ in imports(path):
        other = part(module)
        if other and other != own:
            assert RANKS[other] < RANKS[own], f"{path} (rank {RANKS[own]}) imports {module} (rank {RANKS[other]})"


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_knows_no_browser_no_pickle_and_one_place_that_starts_processes(path):
    for module, _ in imports(path):
        top = module.partition(".")[0]
        assert top not in ("streamlit", "pickle", "shelve", "dill", "joblib", "cloudpickle", "pages")
        assert top != "subprocess" or str(path) in STARTS_PROCESSES


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_pages_import_what_is_cheap_and_never_each_other(path):
    for module, inside in imports(path):
        if part(module):
            assert part(module) in FOR_PAGES or (inside and part(module) in INSIDE_FUNCTIONS), f"{path}: {module}"
        top, _, rest = module.partition(".")
        assert top not in HEAVY, f"{path}: {module}"
        if top == "pages":
            assert rest.partition(".")[0] in ("", "shared"), f"{path}: pages never import each other"


def loaded_by(*modules):
    """Everything that is loaded once these modules are imported."""
    text = f"import json, sys, {', '.join(modules)}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_what_pages_import_brings_nothing_heavy():
    present = [name for name in FOR_PAGES if name in {part_of_file(path) for path in CORE}]
    assert not HEAVY & loaded_by(*(f"seqrl.{name}" for name in present))


def test_the_command_line_starts_without_anything_heavy():
    assert not HEAVY & loaded_by("seqrl.cli")


def test_what_is_checked_exists():
    """An empty list of files would pass all the tests above."""
    assert len(CORE) > 40
    assert {part_of_file(path) for path in CORE} - {"__init__"} <= RANKS.keys()


def test_an_import_upwards_would_be_seen(tmp_path, monkeypatch):
    bad = tmp_path / "seqrl" / "store" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("from seqrl import jobs\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    with pytest.raises(AssertionError, match=r"imports seqrl.jobs \(rank 2\)"):
        test_a_module_imports_lower_ranks_only(Path("seqrl/store/bad.py"))
