"""The Dockerfile without an engine: what it copies is enough, and what it runs serves."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def instructions():
    """Instruction and rest of every line, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    return [tuple(line.split(" ", 1)) for line in text.splitlines() if line and not line.startswith("#")]


def test_it_does_not_run_as_root(instructions):
    names = [name for name, _ in instructions]
    users = [rest for name, rest in instructions if name == "USER"]
    assert users == ["seqrl"]
    assert names.index("USER") < names.index("CMD")
    assert [rest for name, rest in instructions if name == "VOLUME"] == ["/data"]


def test_what_is_copied_serves(instructions, tmp_path):
    ignored = (ROOT / ".dockerignore").read_text().split()
    for rest in (rest for name, rest in instructions if name == "COPY"):
        *sources, target = rest.split()
        for source in sources:
            assert f"!{source}" in ignored, f"{source} is kept out by .dockerignore"
            destination = tmp_path / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, destination, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, destination)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = json.loads(next(rest for name, rest in instructions if name == "CMD"))
    assert command[0] == "streamlit"
    local = [part.replace("8501", str(port)).replace("0.0.0.0", "127.0.0.1") for part in command[1:]]
    environment = os.environ | {"SEQRL_HOME": str(tmp_path / "data"), "PYTHONPATH": ""}
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", *local], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        check = next(rest for name, rest in instructions if name == "HEALTHCHECK").partition("CMD ")[2]
        program = json.loads(check)[2].replace("8501", str(port))
        until(lambda: subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            assert b"<title>" in page.read()
    finally:
        server.kill()
        server.wait()
