"""Starting one of our modules as a Python process of its own, with this process's import path."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What numeric libraries read when they are imported: what our processes compute is too small to share out."""


def start_module(
    module: str,
    *arguments: str,
    pass_fds: Sequence[int] = (),
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Run `python -m module arguments` in one thread; the child inherits only the descriptors in `pass_fds`."""
    import_path = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": import_path}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        pass_fds=tuple(pass_fds),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment,
    )
