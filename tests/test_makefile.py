"""What ``make`` does on machines that lack something: a sentence with a remedy that works, or going on without it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PYTHON = """
mkdir -p $3/bin; touch $3/bin/python
[ -e has-venv ] || exit 1  # as Debian without python3-venv
echo '#!/bin/sh' > $3/bin/pip; chmod +x $3/bin/pip
"""


@pytest.fixture
def machine(tmp_path):
    """A folder with the Makefile and commands of a machine; those that reach further are made up."""
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    for name in ("requirements.txt", "requirements-dev.txt", "benchmarks/requirements.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "benchmarks" / "requirements-peers.txt").touch()
    for name, script in {"python3": PYTHON, "id": "echo 1000", "dpkg": "exit 1", "apt-get": "exit 100"}.items():
        command(tmp_path, name, script)
    return tmp_path


def command(machine, name, script):
    path = machine / "commands" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def make(machine, target):
    variables = {**os.environ, "PATH": f"{machine}/commands:{os.environ['PATH']}"}
    done = subprocess.run(["make", target], cwd=machine, env=variables, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["setup", ".venv-bench/stamp"])
def test_a_python_without_venv_is_named_and_making_it_again_works(machine, target):
    code, said = make(machine, target)
    assert code != 0 and "install it (on Debian the package python3-venv) and repeat" in said
    (machine / "has-venv").touch()
    code, said = make(machine, target)
    assert code == 0, said


def test_debian_packages_that_cannot_be_had_are_named_and_tried_again(machine):
    (machine / "has-venv").touch()
    command(machine, "id", "echo 0")
    code, said = make(machine, "setup")
    assert code == 0 and "not installed: libegl1 libosmesa6 fonts-dejavu-core; install them yourself" in said
    command(machine, "apt-get", "echo apt-get $*")
    code, said = make(machine, "setup")
    assert code == 0 and "install -y --no-install-recommends libegl1" in said and "chromium" not in said
    code, said = make(machine, "setup-dev")
    assert code == 0 and "install -y --no-install-recommends chromium" in said and "libegl1" not in said
    assert "apt-get" not in make(machine, "setup-dev")[1]
