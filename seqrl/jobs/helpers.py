"""Processes that help a job on this machine: each is given requests and answers them, one at a time.

A helper reads a length and a request from its standard input and writes a length and an answer to its standard output;
nothing is pickled. It belongs to the process group of its job, and ends when its input does, so it never outlives it.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from seqrl.jobs.environment import COMPUTING, python_path

_HEAD_BYTES = 8
_AHEAD = 2
"""Requests on their way for each helper, so that none waits for whoever takes the answers."""


class Helpers:
    """Several processes of one kind.

    Args:
        count: how many.
        module: what they run; it calls `serve`.
        arguments: its arguments.
        log: what they print is added to this file.
    """

    def __init__(self, count: int, module: str, arguments: Sequence[str], log: Path) -> None:
        variables = os.environ | COMPUTING | {"PYTHONPATH": python_path(os.environ), "OMP_NUM_THREADS": "1"}
        with open(log, "ab") as file:
            self._processes = [
                subprocess.Popen(
                    [sys.executable, "-P", "-m", module, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    env=variables,
                )
                for _ in range(count)
            ]
        self._log = log
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def answers(self, requests: Iterable[bytes], wait_s: float) -> Iterator[bytes | None]:
        """The answers, in the order of the requests; None after every so many seconds without one.

        Raises:
            ValueError: if a helper ends.
        """
        coming, waiting = iter(requests), deque[Future[bytes]]()
        pool = ThreadPoolExecutor(len(self._processes), "helpers")
        try:
            while True:
                while len(waiting) < _AHEAD * len(self._processes) and (request := next(coming, None)) is not None:
                    waiting.append(pool.submit(self._ask, request))
                if not waiting:
                    return
                try:
                    answer = waiting[0].result(wait_s)
                except TimeoutError:
                    yield None
                    continue
                waiting.popleft()
                yield answer
        finally:
            self.end()  # before the threads are waited for: they wait for these
            pool.shutdown(cancel_futures=True)

    def _ask(self, request: bytes) -> bytes:
        process = self._idle.get()
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101 - they are pipes
            _write(process.stdin, request)
            answer = _read(process.stdout)
        except OSError:
            answer = None
        finally:
            self._idle.put(process)
        if answer is None:
            raise ValueError(
                f"a process that helped was killed or crashed; {self._log.name} in the job's folder shows what it said"
            )
        return answer

    def end(self) -> None:
        """End them all."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Answer requests until there are no more; what is printed meanwhile goes to the log."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while (request := _read(requests)) is not None:
        _write(answers, answer(request))


def _write(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(_HEAD_BYTES, "big"))
    stream.write(message)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    head = stream.read(_HEAD_BYTES)
    size = int.from_bytes(head, "big")
    message = stream.read(size) if len(head) == _HEAD_BYTES else b""
    return message if len(head) == _HEAD_BYTES and len(message) == size else None
