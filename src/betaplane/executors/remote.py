"""Calls in a process of a cluster: what such a worker does, and what it returns.

Workers import this file, and on Dask the scheduler does: it imports torch only in a worker.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.executors.shipment import Manifest

# one call at a time in a process: runs use the global random generators
_lock = threading.Lock()
_opened: dict[str, Any] = {}  # the problem that was opened last, by the token of its manifest


def run(manifest: Manifest, payload: Callable[[], bytes], call: bytes) -> bytes:
    """In a worker: function(problem, *arguments); returns the pickled result or BadInput.

    Output of the user's code goes to stderr. Relative paths are those of the sender, if its current
    folder exists here.

    Args:
        manifest: describes the problem.
        payload: returns the pickled problem; called once per process.
        call: the pickled function and its arguments.
    """
    with _lock, redirect_stdout(sys.stderr):
        try:
            reply: tuple[Any, BadInput | None] = (_call_opened(manifest, payload, call), None)
        except BadInput as error:
            reply = (None, error)
        return pickle.dumps(reply)


def _call_opened(manifest: Manifest, payload: Callable[[], bytes], pickled: bytes) -> Any:
    from betaplane.executors.call import call, worker_settings
    from betaplane.executors.shipment import in_folder

    manifest.check_versions()
    with worker_settings(manifest.threads), in_folder(manifest.folder):
        if manifest.token not in _opened:
            _opened.clear()
            _opened[manifest.token] = manifest.open(payload())
        function, arguments = pickle.loads(pickled)
        return call(function, _opened[manifest.token], arguments)


def settle(future: Future, reply: Callable[[], bytes], explain: Callable) -> None:
    """At the sender: give a future the result of `run`, or the error.

    Args:
        future: the one that `submit` returned.
        reply: returns what `run` returned, or raises an error of the engine.
        explain: returns the error to raise for one of the engine.
    """
    try:
        value, error = pickle.loads(reply())
    except BaseException as raised:
        value, error = None, explain(raised)
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
