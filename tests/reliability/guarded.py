"""Import listed files under an audit hook. ``python guarded.py datasets|models|selftest FILE``."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

from tests.reliability.hostile_files import Canary, read

FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
)
ROOTS = tuple({sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])})
events = []


def hook(event, arguments):
    if event.startswith(FORBIDDEN):
        events.append(f"{event} {arguments!r:.200}")
    elif event == "exec" and hasattr(arguments[0], "co_filename"):
        name = arguments[0].co_filename
        if not name.startswith((*ROOTS, "<")):
            events.append(f"exec {name}")
    elif event == "open" and isinstance(arguments[0], str) and arguments[0] == "/etc/passwd":
        events.append("open /etc/passwd")


def selftest(canary):
    """What the hook has to notice."""
    script = canary.with_name("script.py")
    script.write_text("x = 1\n")

    def execute():
        spec = importlib.util.spec_from_file_location("script", script)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))

    for act in (
        lambda: os.system("true"),
        lambda: subprocess.run(["true"], check=True),
        lambda: pickle.loads(pickle.dumps(Canary(canary))),
        execute,
    ):
        events.clear()
        act()
        print(json.dumps({"name": "selftest", "events": list(events)}))


def main(kind, path):
    if kind == "models":  # imported first: what packages do while they load is none of a file's doing
        import seqrl.huggingface  # noqa: F401
    sys.addaudithook(hook)
    if kind == "selftest":
        selftest(Path(path))
        return
    for case in json.loads(Path(path).read_text()):
        events.clear()
        sentence = read("safetensors" if kind == "models" else "d4rl", Path(case["path"]), Path(case["folder"]))
        print(json.dumps({"name": case["name"], "sentence": sentence, "events": list(events)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
