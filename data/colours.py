"""The colours of owners and outcomes, the same in tables, pictures and the viewer."""

from data.schema import Outcome, Owner

OWNER_COLOURS = {Owner.LEARNER: "#1f6feb", Owner.TRANSITION: "#d4a72c", Owner.EXPERT: "#d1570a"}
OUTCOME_COLOURS = {
    Outcome.SUCCESS: "#2da44e",
    Outcome.FAILURE: "#cf222e",
    Outcome.DISCARDED: "#8c959f",
    Outcome.UNKNOWN: "#d4a72c",
}
