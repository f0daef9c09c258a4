"""The app as a server of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STREAMLIT = ("-m", "streamlit")


@contextmanager
def serving(home, log, program=STREAMLIT, own_session=False, **variables):
    """Serve a home; stopped by its process, jobs and all.

    Args:
        home: its SEQRL_HOME.
        log: file for what it says.
        program: what Python runs as ``streamlit``.
        own_session: whether it gets a session of its own, which some systems divide the processor among.
        **variables: more of its environment.

    Yields:
        Its address and its process.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, *program, "run", "app.py", "--server.port", str(port)],
            cwd=ROOT,
            env=os.environ | {"SEQRL_HOME": str(home), "SEQRL_IMPORT_ROOT": str(Path(home).parent)} | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=own_session,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(address, process, log):
    """Wait until the server answers."""
    for _ in range(480):
        if process.poll() is not None:
            raise RuntimeError(f"the app did not start: {log.read_text()}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError(f"the app did not answer: {log.read_text()}")
