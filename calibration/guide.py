"""Guiding a person through a calibration: what she sees, what she can answer, and procedures as dialogues of both.

A procedure is a generator: it yields a `Guide` at every turn, about 20 times a second, and is sent an `Answer` or None.
So the same procedure runs in a window, without anybody, and in a test.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.errors import NotGoodEnoughError

Result = TypeVar("Result")
PATIENCE_TURNS = 100


class Answer(StrEnum):
    """What can be answered; the value is the key."""

    GO = "space"
    DONE = "return"
    SKIP = "s"
    STOP = "escape"


@dataclass(frozen=True)
class Guide:
    """What is shown: the step of the work, what to do next, the live picture with what was detected.

    `progress` and `score` are shares in [0, 1]; `score` says how good the result would be by now and `missing` what it
    lacks. `offers` are the answers that are understood now, with what they do. `alarm` is what went wrong, or nothing.
    `waiting` is for something that only a person can put right.
    """

    title: str
    instruction: str
    image: NDArray[np.uint8] | None = None
    progress: float = 0.0
    score: float = 0.0
    missing: tuple[str, ...] = ()
    offers: tuple[tuple[Answer, str], ...] = ()
    alarm: str = ""
    waiting: bool = False


Procedure: TypeAlias = Generator[Guide, Answer | None, Result]
Show: TypeAlias = Callable[[Guide], Answer | None]
"""Shows a guide and returns what was answered since the last one."""


class StoppedError(Exception):
    """The operator has ended a procedure before it was done."""


def conduct(procedure: Procedure[Result], show: Show) -> Result:
    """Run a procedure to its end. Raises StoppedError if the operator ends it, and whatever the procedure raises."""
    try:
        guide = next(procedure)
        while True:
            answer = show(guide)
            if answer is Answer.STOP:
                raise StoppedError
            guide = procedure.send(answer)
    except StopIteration as ended:
        result: Result = ended.value
        return result
    finally:
        procedure.close()


def unattended(say: Callable[[str], None]) -> Show:
    """Return a `Show` for when nobody is there: it goes on wherever it may, and says every instruction once.

    It raises NotGoodEnoughError where a procedure waits in vain for what only a person can put right.
    """
    said = ""
    waited = 0

    def show(guide: Guide) -> Answer | None:
        nonlocal said, waited
        waited = waited + 1 if guide.waiting else 0
        if waited > PATIENCE_TURNS:
            raise NotGoodEnoughError(f"{guide.title}: {guide.alarm} {guide.instruction}")
        words = guide.alarm or guide.instruction
        if words != said:
            said = words
            say(f"{guide.title}: {words}")
        offered = [answer for answer, _ in guide.offers]
        return next((answer for answer in (Answer.GO, Answer.DONE) if answer in offered), None)

    return show
