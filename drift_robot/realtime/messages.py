"""What the processes of a session tell each other now and then: small frozen values, as JSON in a ring.

Every process has one such ring that it alone writes; whoever is interested listens. A ring knows no locks and no
pickles, so a process may be killed in the middle of a word, and nobody else notices. What flows at a high rate is in
`records`.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

import numpy as np
from pydantic import TypeAdapter

from data.schema import Outcome
from drift_robot.gate import Effect, Fault, FaultCleared, HelpWanted, PlanDone, ResetDone
from hardware.errors import DeviceError
from hardware.input_devices import DeviceKind
from hardware.input_devices.keyboard import KeyEvent
from hardware.interfaces import Verb
from hardware.rings import RingHandle, RingReader, RingWriter

BODY_BYTES = 2000
MESSAGE = np.dtype([("kind", "S32"), ("body", f"S{BODY_BYTES}")])
MESSAGE_SLOTS = 64


@dataclass(frozen=True)
class Said:
    """A sentence for the operator."""

    sentence: str


@dataclass(frozen=True)
class Failed:
    """Why the process ends, in one sentence."""

    sentence: str


@dataclass(frozen=True)
class Ready:
    """The process has set itself up and works."""


@dataclass(frozen=True)
class Closed:
    """The operator has closed the window: its process ends, and is not to be started again."""


@dataclass(frozen=True)
class Pressed:
    """A verb that another process than the input device presses."""

    verb: Verb


@dataclass(frozen=True)
class Wish:
    """A verb that the simulated expert, who watches the learner, wants pressed on the scripted operator's device."""

    verb: Verb


@dataclass(frozen=True)
class SceneWanted:
    """The cell shall put up the scene of a seed; its state then carries `number`."""

    number: int
    seed: int


@dataclass(frozen=True)
class StartWanted:
    """Which start the operator shall put up for the next episode, in a sentence.

    `again` is the number of the episode whose start it is, None for a new one.
    """

    sentence: str
    again: int | None


@dataclass(frozen=True)
class EpisodeSaved:
    """The recorder has dealt with an ended episode: it is whole on disk as number `index`, or not to be used (None).

    `done` is how many of the session's episodes count by now; `alone` tells that nobody took over. `dropped` is the
    number of an earlier episode that went to the bin afterwards. `save_s` is how long it took from control's order.
    """

    index: int | None
    outcome: Outcome
    done: int
    version: int = -1
    steps: int = 0
    expert_labels: int = 0
    alone: bool = False
    dropped: int | None = None
    save_s: float = 0.0


@dataclass(frozen=True)
class Acting:
    """Which version acts and since when, and how well the control loop keeps its rate.

    `alarm` is the level of the learner's last window, None where there is none; `alarmed`: the alarm is raised.
    """

    version: int
    rank: int
    swapped_ns: int | None
    measured_hz: float
    worst_late_s: float
    alarm: float | None = None
    alarmed: bool = False


@dataclass(frozen=True)
class DeviceInUse:
    """The kind of input device that the operator drives with, and what is wrong with it now, or nothing."""

    kind: DeviceKind
    problem: str = ""


@dataclass(frozen=True)
class Swapped:
    """Another version acts, within `seconds`; not said in a comparison, where nobody is to know."""

    version: int
    before: int
    seconds: float


@dataclass(frozen=True)
class Keys:
    """Key events of the operator window since its last picture."""

    time_ns: int
    events: tuple[KeyEvent, ...]


Message: TypeAlias = (
    Effect
    | Fault
    | FaultCleared
    | HelpWanted
    | ResetDone
    | PlanDone
    | Said
    | Failed
    | Ready
    | Closed
    | Pressed
    | Wish
    | SceneWanted
    | StartWanted
    | EpisodeSaved
    | Acting
    | DeviceInUse
    | Swapped
    | Keys
)
_ADAPTERS: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(Message)}


class Speaker:
    """The one writer of a process's messages."""

    def __init__(self, handle: RingHandle) -> None:
        self._writer = RingWriter(handle)

    def say(self, message: Message) -> int:
        """Publish a message; returns its number. Raises DeviceError if it is too long."""
        kind = type(message).__name__
        body = _ADAPTERS[kind].dump_json(message)
        if len(body) > BODY_BYTES:
            raise DeviceError(f"A message '{kind}' has {len(body)} bytes; at most {BODY_BYTES} fit.")
        return self._writer.write({"kind": kind.encode(), "body": body})


class Listener:
    """A reader of another process's messages. One that takes the place of a dead reader begins with what is new."""

    def __init__(self, handle: RingHandle, from_start: bool) -> None:
        self._reader = RingReader(handle)
        newest = None if from_start else self._reader.latest()
        self._heard = newest.sequence if newest else 0

    def hear(self, up_to: int | None = None) -> list[Message]:
        """Return the messages not heard yet, oldest first, or of those only the ones up to a number."""
        messages: list[Message] = []
        for record in self._reader.since(self._heard):
            if up_to is not None and record.sequence > up_to:
                break
            self._heard = record.sequence
            messages.append(_ADAPTERS[record.value["kind"].decode()].validate_json(record.value["body"]))
        return messages
