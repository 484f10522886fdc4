"""By how much one signal comes after another that shows the same motion: generalised cross-correlation.

For every shift in time the follower is explained by the reference as well as a linear map can; the shift with the
highest correlation is the lag, between the grid's points by a parabola (Knapp and Carter 1976, "The generalized
correlation method for estimation of time delay"). So neither has to be known in the other's units or frame: pixels
follow metres. Times may be irregular, and samples may be missing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.errors import NotGoodEnoughError
from hardware.clock import NS_PER_S
from hardware.poses import Array

EARLIEST_S, LATEST_S = -0.15, 0.6
STEP_S = 0.002
SMOOTHING_S = 0.02
MIN_SAMPLES = 40
MIN_CORRELATION = 0.9
PARTS = 6
"""The expected error comes from how far the lags of so many parts of the recording disagree."""


@dataclass(frozen=True)
class Signal:
    """Values (n, d) at times (n,) on the host's clock in ns."""

    times_ns: NDArray[np.int64]
    values: Array


@dataclass(frozen=True)
class Lag:
    """A follower's `lag_s` behind its reference and the error to be expected of it, over `samples` of the follower.

    `curve` (m, 2) holds correlations by shift in s. `seconds` (n,) are the samples' times, `followed` (n,) what the
    follower shows in its main direction, and `explained` (n,) what the shifted reference makes of it.
    """

    lag_s: float
    expected_error_s: float
    correlation: float
    samples: int
    curve: Array
    seconds: Array
    followed: Array
    explained: Array


def find_lag(reference: Signal, follower: Signal, what: str) -> Lag:
    """Return by how much `follower` comes after `reference`; the reference should be the denser of both.

    `what` names the follower in sentences. Raises NotGoodEnoughError if the signals do not tell.
    """
    origin_ns = int(reference.times_ns[0]) if len(reference.times_ns) else 0
    known = _smoothed(*_rising((reference.times_ns - origin_ns) / NS_PER_S, reference.values))
    seconds, values = _rising((follower.times_ns - origin_ns) / NS_PER_S, follower.values)
    inside = (seconds > LATEST_S) & (seconds < known[0][-1] + EARLIEST_S)
    seconds, values = seconds[inside], values[inside]
    if len(seconds) < MIN_SAMPLES:
        raise NotGoodEnoughError(
            f"Only {len(seconds)} samples of {what} fall into the motion, fewer than {MIN_SAMPLES}: look for what "
            "holds them back, then measure again."
        )
    values = values - values.mean(axis=0)
    shifts = np.arange(EARLIEST_S, LATEST_S + STEP_S / 2, STEP_S)
    correlations = _correlations(_shifted(known, seconds, shifts), values)
    lag_s, best = _peak(shifts, correlations), float(correlations.max())
    if best < MIN_CORRELATION:
        raise NotGoodEnoughError(
            f"What {what} shows does not follow the motion (correlation {best:.2f}, at least {MIN_CORRELATION:g} is "
            "needed): see that nothing else moves or blocks it, then measure again."
        )
    if lag_s is None:
        raise NotGoodEnoughError(
            f"The lag of {what} is not between {EARLIEST_S:g} and {LATEST_S:g} s: check its clock and its buffers."
        )
    before, at, after = _shifted(known, seconds, lag_s + STEP_S * np.array([-1.0, 0.0, 1.0]))
    linear = np.linalg.lstsq(at, values, rcond=None)[0]
    explained: Array = at @ linear
    error_s = _disagreement(values - explained, (after - before) @ linear / (2.0 * STEP_S))
    direction = np.linalg.svd(values, full_matrices=False)[2][0]
    curve = np.column_stack([shifts, correlations])
    return Lag(lag_s, error_s, best, len(seconds), curve, seconds, values @ direction, explained @ direction)


def _rising(seconds: Array, values: Array) -> tuple[Array, Array]:
    """Return samples in the order of their times, each time once."""
    times, first = np.unique(seconds, return_index=True)
    return times, values[first]


def _smoothed(seconds: Array, values: Array) -> tuple[Array, Array]:
    """Return samples at regular times, averaged with a symmetric kernel, which shifts nothing.

    Between noisy samples interpolation averages and on them it does not; without this such times would seem better.
    """
    if len(seconds) < 2:
        return np.zeros(1), np.zeros((1, values.shape[1]))
    regular = np.arange(seconds[0], seconds[-1], STEP_S)
    kernel = np.hanning(round(2 * SMOOTHING_S / STEP_S) + 1)
    kernel /= kernel.sum()
    padding = len(kernel) // 2
    columns = [np.pad(np.interp(regular, seconds, column), padding, mode="edge") for column in values.T]
    return regular, np.column_stack([np.convolve(column, kernel, mode="valid") for column in columns])


def _shifted(known: tuple[Array, Array], seconds: Array, shifts: Array) -> Array:
    """Return the reference (m, n, d) at (n,) times less each of (m,) shifts, about its mean."""
    times = seconds - shifts[:, None]
    moved = np.stack([np.interp(times, known[0], column) for column in known[1].T], axis=-1)
    centred: Array = moved - moved.mean(axis=1, keepdims=True)
    return centred


def _correlations(bases: Array, values: Array) -> Array:
    """Return the multiple correlation of values (n, d) with each of some bases (m, n, k), all about their means."""
    spread = float(np.square(values).sum())
    if spread == 0.0:
        return np.zeros(len(bases))
    squares = np.einsum("mni,mnj->mij", bases, bases)
    floor = 1e-9 * np.trace(squares, axis1=1, axis2=2).max() * np.eye(bases.shape[2]) + 1e-30 * np.eye(bases.shape[2])
    products = np.einsum("mni,nj->mij", bases, values)
    explained = np.einsum("mij,mij->m", products, np.linalg.solve(squares + floor, products))
    correlations: Array = np.sqrt(np.clip(explained / spread, 0.0, 1.0))
    return correlations


def _peak(shifts: Array, correlations: Array) -> float | None:
    """Return where the share that is explained, the correlation squared, is highest; None at the grid's ends."""
    top = int(np.argmax(correlations))
    if top in (0, len(shifts) - 1):
        return None
    before, at, after = np.square(correlations[top - 1 : top + 2]).tolist()
    bend = before - 2.0 * at + after
    return float(shifts[top] + (0.5 * (before - after) / bend if bend < 0.0 else 0.0) * STEP_S)


def _disagreement(off: Array, slope: Array) -> float:
    """Return the standard error of the lag: how far one Gauss-Newton step in each part of the recording leads.

    All parts share the map that fits the whole. `off` (n, d) is what is not explained, `slope` (n, d) by how much it
    would change with the lag, per second.
    """
    steps = [
        float((part * part_slope).sum() / max(float(np.square(part_slope).sum()), 1e-30))
        for part, part_slope in zip(np.array_split(off, PARTS), np.array_split(slope, PARTS), strict=True)
    ]
    return float(np.std(steps, ddof=1) / np.sqrt(PARTS))
