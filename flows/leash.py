"""A program on a leash: started by its path, it becomes the command that follows, and is ended with its parent.

    leash.py PARENT COMMAND ARGUMENT…

PARENT is the process id of whoever starts it. A parent that is killed cannot stop its children; the kernel can.
Runs under any Python, so nothing but the standard library is imported. Linux; elsewhere the command runs unleashed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGTERM at the parent's end, then become the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(parent):  # else it ended before the kernel was asked
        os.execv(command[0], command)


if __name__ == "__main__":
    main()
