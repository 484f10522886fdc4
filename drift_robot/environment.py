"""Makes the environment on a machine that has Python 3.11 and nothing else, then runs a command in it.

    python3 -m drift_robot.environment demo [options of drift-robot demo]
    python3 -m drift_robot.environment test [options of pytest]
    python3 -m drift_robot.environment run COMMAND [options of that drift-robot command]

It creates .venv, installs the packages, makes off-screen rendering work where it may, and hands over to the command.
The second time there is nothing to do. After an interruption it begins again. Standard library only: the rest comes
with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.txt"
RENDERING = VENV / "rendering.txt"
LOG = VENV / "install.log"

OLDEST_PYTHON = (3, 11)
TORCH = "torch==2.13.0"
UNFINISHED = "unfinished"

BESIDE_EACH_OTHER = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadgroup", "--timeout", "1200")
UNTIMED = (*BESIDE_EACH_OTHER, "-m", "not realtime and not long")
TIMED = ("-m", "realtime and not long")
"""How pytest runs all tests but the long ones, without options: in two calls at the same time. Those against the clock
run one at a time and come first; the others, side by side, get what they leave of the machine."""
LEAST_PRECEDENCE = 19
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)

GL_BACKENDS = ("egl", "osmesa")
GL_PACKAGES = (("libegl1", "libopengl0", "libgl1"), ("libosmesa6",))
NO_RENDERING = "disable"  # MuJoCo's own word for it
RENDER_ONE_PICTURE = """
import mujoco
mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).render()
"""


class SetupError(Exception):
    """Something that the user has to know or do, in one sentence."""


def main(arguments: Sequence[str]) -> int:
    """Prepare the environment and become the command; return an exit status only where that does not happen."""
    if not arguments or arguments[0] not in ("demo", "test", "run"):
        print(__doc__)
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prepare()
    except SetupError as error:
        print(f"drift-robot: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndrift-robot: interrupted; give the same command again to set up from the beginning.", file=sys.stderr)
        return 130
    verb, *options = arguments
    variables = {**rendering_variables(), **os.environ}
    if verb != "test" or options:
        command = command_of(verb, options)
        os.execve(command[0], command, variables)
    try:
        return test_all(variables)
    except KeyboardInterrupt:
        return 130


def command_of(verb: str, options: Sequence[str]) -> list[str]:
    """Return the program with its arguments that `demo`, `test` or `run` with its options stands for."""
    if verb == "test":
        return [str(PYTHON), "-m", "pytest", *options]
    return [str(VENV / "bin" / "drift-robot"), *(["demo"] if verb == "demo" else []), *options]


def test_all(variables: Mapping[str, str]) -> int:
    """Run all tests; what those against the clock say comes when the others are done. Return the exit status."""
    timed, untimed, calls = command_of("test", TIMED), command_of("test", UNTIMED), []
    with tempfile.TemporaryFile() as said:
        try:
            with interruptions_held_back():  # or one that comes while a call starts would leave it to itself
                calls.append(
                    subprocess.Popen(
                        timed, env=variables, stdout=said, stderr=subprocess.STDOUT, preexec_fn=accept_interruptions
                    )
                )
                calls.append(subprocess.Popen(untimed, env=variables, preexec_fn=yield_to_others))
            failed = [call.wait() for call in calls]
        finally:
            for call in calls:
                call.terminate()
            for call in calls:
                call.wait()
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
        sys.stdout.flush()
    return int(any(failed))


@contextmanager
def interruptions_held_back() -> Iterator[None]:
    """Let an interruption come at the end of the context."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        yield
    finally:
        accept_interruptions()


def accept_interruptions() -> None:
    """Let interruptions come again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)


def yield_to_others() -> None:
    """Let this process and its children run when nobody else wants to."""
    accept_interruptions()
    os.nice(LEAST_PRECEDENCE)


def prepare() -> None:
    """Bring `.venv` up to date with pyproject.toml. Raises SetupError."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"this is Python {sys.version.split()[0]}, and drift-robot needs 3.11 or newer: "
            "start the command with a newer one, for instance python3.11."
        )
    with only_one_at_a_time():
        if not is_up_to_date():
            install()
        if sys.platform == "linux":
            prepare_rendering()


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Wait until no other process is setting up this repository, and keep others waiting."""
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another command is setting up this folder; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def wanted() -> str:
    """Return the hash of everything that decides what has to be installed."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + TORCH.encode()).hexdigest()


def is_up_to_date() -> bool:
    """Tell whether `.venv` was finished for the present pyproject.toml."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted()


def install() -> None:
    """Create `.venv`, anew if an earlier attempt was cut off, and install the packages. Raises SetupError."""
    print("Setting up drift-robot in .venv; this is needed once, and PyTorch is a large download.", flush=True)
    began = time.monotonic()
    cut_off = STAMP.exists() and STAMP.read_text() == UNFINISHED
    if cut_off or not succeeds([PYTHON, "-m", "pip", "--version"]):
        shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir(exist_ok=True)
    STAMP.write_text(UNFINISHED)
    RENDERING.unlink(missing_ok=True)
    if not PYTHON.exists():
        require_venv_module()
        step("virtual environment", [getattr(sys, "_base_executable", sys.executable), "-m", "venv", VENV])
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    step("PyTorch", [*pip, TORCH])
    step("drift-robot and its other packages", [*pip, "--editable", ".[dev]"])
    STAMP.write_text(wanted())
    print(f"Set up in {time.monotonic() - began:.0f} s.", flush=True)


def require_venv_module() -> None:
    """Install what Debian and Ubuntu split off from Python, if it is missing. Raises SetupError where it cannot."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if not apt_install(package):
        raise SetupError(f"this Python cannot make virtual environments; run: sudo apt-get install {package}")


def prepare_rendering() -> None:
    """Find a way to render without a display, installing system libraries once where that is allowed."""
    known = RENDERING.read_text() if RENDERING.exists() else ""
    if known in GL_BACKENDS:
        return
    backend = rendering_backend()
    if not known:
        for packages in GL_PACKAGES:
            if backend or not apt_install(*packages):
                break
            backend = rendering_backend()
    RENDERING.write_text(backend or NO_RENDERING)
    if not backend:
        print(
            "Off-screen rendering does not work here, so everything runs without camera pictures; "
            f"to have them, run: sudo apt-get install {' '.join(GL_PACKAGES[0])}",
            flush=True,
        )


def rendering_backend() -> str | None:
    """Return the first OpenGL backend that renders a picture here."""
    for backend in GL_BACKENDS:
        if succeeds([PYTHON, "-c", RENDER_ONE_PICTURE], {"MUJOCO_GL": backend}):
            return backend
    return None


def rendering_variables() -> dict[str, str]:
    """Return the environment variable that tells MuJoCo how to render."""
    return {"MUJOCO_GL": RENDERING.read_text()} if RENDERING.exists() else {}


def apt_install(*packages: str) -> bool:
    """Install Debian packages if that is possible without asking; return whether it was."""
    if shutil.which("apt-get") is None:
        return False
    become_root: list[str] = []
    if os.geteuid() != 0:
        become_root = ["sudo", "-n"]
        if shutil.which("sudo") is None or not succeeds([*become_root, "true"]):
            return False
    apt_get = [*become_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    try:
        step("lists of system packages", [*apt_get, "update"])
        step(f"system packages {' '.join(packages)}", [*apt_get, "install", "-y", "--no-install-recommends", *packages])
    except SetupError as error:
        print(f"  {error}", flush=True)
        return False
    return True


def succeeds(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> bool:
    """Run a command silently, with more environment variables, and tell whether it exited with 0."""
    try:
        return subprocess.run(command, env={**os.environ, **(variables or {})}, capture_output=True).returncode == 0
    except OSError:
        return False


def step(name: str, command: Sequence[str | Path]) -> None:
    """Run a command in the repository, showing its name, its time and its newest line. Raises SetupError."""
    terminal = sys.stdout.isatty()
    began = time.monotonic()
    with LOG.open("ab") as log:
        beginning = log.tell()
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while not has_ended(process, within_s=1.0 if terminal else 15.0):
                show(f"{name} ... {time.monotonic() - began:.0f} s  {said_last(beginning)}", passing=terminal)
        except BaseException:
            process.terminate()
            with suppress(ChildProcessError):
                os.waitpid(process.pid, 0)  # process.wait() takes a lock, which an interruption of it can leave held
            raise
    if process.returncode != 0:
        raise SetupError(f"{name} failed: {said_last(beginning, ('ERROR: ', 'E: '))} (everything it said is in {LOG})")
    show(f"{name}: {time.monotonic() - began:.0f} s")


def has_ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Wait for a process for a while and tell whether it has ended."""
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def show(text: str, passing: bool = False) -> None:
    """Print a line; on a terminal it replaces a passing one."""
    line = f"  {text[: shutil.get_terminal_size().columns - 3]}"
    print(f"\r\033[K{line}" if sys.stdout.isatty() else line, end="" if passing else "\n", flush=True)


def said_last(beginning: int, prefixes: tuple[str, ...] = ("",)) -> str:
    """Return the log's newest line after a position that starts with one of the prefixes, or else its newest line."""
    with LOG.open("rb") as log:
        log.seek(beginning)
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    chosen = [line for line in lines if line.startswith(prefixes)] or lines
    return chosen[-1] if chosen else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
