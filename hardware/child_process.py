"""Starting one of our modules as a Python process of its own, with this process's import path."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO


def start_module(
    module: str,
    *arguments: str,
    pass_fds: Sequence[int] = (),
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Run `python -m module arguments`; the child inherits only the file descriptors in `pass_fds`.

    Its numeric libraries start no threads: what it computes is small.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        pass_fds=tuple(pass_fds),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment,
    )
