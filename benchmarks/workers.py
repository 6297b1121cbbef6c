"""Several processes of one thread each that work off a list of tasks.

A task that raises, or whose process dies, costs itself only. When the parent is interrupted or killed, no process
stays behind.
"""

import contextlib
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Failure(NamedTuple):
    """What became of a task that gave no answer."""

    reason: str  # one line
    details: str  # the traceback, where there is one


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection


def work(
    function: Callable[[Task], Answer], tasks: Iterable[Task], workers: int, started: Callable[[Task], None]
) -> Iterator[tuple[Task, Answer | Failure]]:
    """Each task with its answer or failure, in the order of completion.

    Args:
        function: of a module, as it is sent to other processes by name.
        tasks: what can be pickled, as the answers must be.
        workers: processes at a time.
        started: called when a task has been handed out.
    """
    queue = deque(tasks)
    idle: list[_Worker] = []
    busy: dict[Connection, tuple[_Worker, Task]] = {}
    try:
        while queue or busy:
            while queue and len(busy) < workers:
                worker = idle.pop() if idle else _start(function)
                task = queue.popleft()
                busy[worker.connection] = (worker, task)
                with contextlib.suppress(BrokenPipeError):  # a process that has died is noticed below
                    worker.connection.send(task)
                started(task)
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                worker, task = busy.pop(ready)
                try:
                    answer = ready.recv()
                except (EOFError, ConnectionResetError):
                    _stop([worker])
                    yield task, Failure(f"its process died ({ending(worker.process.exitcode)})", "")
                else:
                    idle.append(worker)
                    yield task, answer
    finally:
        _stop([*idle, *(worker for worker, _ in busy.values())])


def _start(function: Callable[[Any], Any]) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    # Ctrl-C reaches all processes of a terminal; the mask is inherited, so that only the parent hears it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _one_thread():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return _Worker(process, ours)


def _stop(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(5)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            answer = function(task)
        except BaseException as error:  # an agent of somebody else's may even call sys.exit
            # Told in words: an exception need not survive being pickled.
            answer = Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
        try:
            connection.send(answer)
        except BrokenPipeError:
            return


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}" + ("; out of memory?" if code == -signal.SIGKILL else "")
    return f"exit code {code}"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started inside use one thread each: more threads than cores wait for each other by spinning."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
