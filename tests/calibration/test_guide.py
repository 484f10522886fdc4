"""Dialogues: the same procedure with somebody and with nobody."""

import pytest

from calibration.errors import NotGoodEnoughError
from calibration.guide import Answer, Guide, Procedure, StoppedError, conduct, unattended


def procedure() -> Procedure[list[Answer | None]]:
    heard = [(yield Guide("Title", "look"))]
    heard.append((yield Guide("Title", "look")))
    heard.append((yield Guide("Title", "go?", offers=((Answer.SKIP, "skip"), (Answer.GO, "go")))))
    heard.append((yield Guide("Title", "done?", offers=((Answer.DONE, "done"),), alarm="careful")))
    return heard


def test_answers_reach_the_procedure_and_its_result_comes_back() -> None:
    answers = iter([None, Answer.SKIP, Answer.GO, None])
    assert conduct(procedure(), lambda guide: next(answers)) == [None, Answer.SKIP, Answer.GO, None]


def test_nobody_goes_on_wherever_that_is_offered_and_says_everything_once() -> None:
    said: list[str] = []
    assert conduct(procedure(), unattended(said.append)) == [None, None, Answer.GO, Answer.DONE]
    assert said == ["Title: look", "Title: go?", "Title: careful"]


def test_nobody_waits_for_ever_for_what_only_a_person_can_put_right() -> None:
    def endless() -> Procedure[None]:
        while True:
            yield Guide("Title", "Put the board there.", alarm="No board is seen.", waiting=True)

    with pytest.raises(NotGoodEnoughError, match=r"Title: No board is seen\. Put the board there\."):
        conduct(endless(), unattended(lambda sentence: None))


def test_stopping_ends_a_procedure_and_lets_it_clean_up() -> None:
    cleaned = []

    def careful() -> Procedure[None]:
        try:
            yield Guide("Title", "look")
        finally:
            cleaned.append(True)

    with pytest.raises(StoppedError):
        conduct(careful(), lambda guide: Answer.STOP)
    assert cleaned == [True]
