"""Labels that were changed after the recording, as an episode's attribute `relabelled` keeps them: what, who, when.

The recorded columns are never written again; a reader sees them through these changes. What may be changed is in
`data.relabel`.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from data.schema import Array, Outcome, Owner

RELABELLED = "relabelled"
"""The attribute's name."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Relabelling:
    """One change: of the outcome, or of owner or recovery mark of `steps` (first and last, both included), or of all.

    `undone` says when and by whom it was taken back; it stays in the record.
    """

    utc: str
    by: str
    because: str = ""
    outcome: Outcome | None = None
    outcome_before: Outcome | None = None
    steps: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    owner: Owner | None = None
    recovered: bool | None = None
    undone: str | None = None

    def __str__(self) -> str:
        """Return the change in words."""
        parts = []
        if self.outcome is not None and self.outcome_before is not None:
            parts.append(f"{self.outcome_before.value} to {self.outcome.value}")
        if self.steps is not None:
            marks = [] if self.owner is None else [self.owner.name.lower()]
            marks += [] if self.recovered is None else ["recovered" if self.recovered else "not recovered"]
            parts.append(f"steps {self.steps[0]} to {self.steps[1]} {', '.join(marks)}")
        because = f" ({self.because})" if self.because else ""
        undone = f"; undone {self.undone}" if self.undone else ""
        return f"{', '.join(parts)}, by {self.by} at {self.utc}{because}{undone}"


_RECORD = TypeAdapter(tuple[Relabelling, ...])


def relabellings(attributes: dict[str, Any]) -> tuple[Relabelling, ...]:
    """Return the changes in an episode's attributes, oldest first. Raises ValueError if they are damaged."""
    return _RECORD.validate_python(attributes.get(RELABELLED, ()))


def to_attribute(changes: Sequence[Relabelling]) -> dict[str, Any]:
    """Return the attribute that keeps these changes."""
    return {RELABELLED: _RECORD.dump_python(tuple(changes), mode="json", exclude_none=True, exclude_defaults=True)}


def apply(changes: Sequence[Relabelling], column: str, rows: Array, start: int) -> None:
    """Write what still holds of the changes into a column's rows, the first of which is step `start`."""
    for change in changes:
        value = {"owner": change.owner, "recovered": change.recovered}.get(column)
        if value is not None and change.steps is not None and change.undone is None:
            first, last = change.steps
            rows[max(first - start, 0) : max(last + 1 - start, 0)] = value
