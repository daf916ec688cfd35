"""A child process that dies with its parent, however the parent dies. Uses only the standard library.

Run as a file it becomes the given program, bound to the process that started it:

    python child_process.py PARENT_PID PROGRAM ARGUMENT...
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Asks Linux to send signal ``number`` to this process when the thread that started it ends (prctl(2)).

    ``parent`` is the process id of the expected parent; if that has ended already, this process ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    die_with_parent(signal.SIGKILL, int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - becoming the program is the purpose
