"""A device's clock mapped onto the host's, with its drift estimated from the frames alone.

Every frame gives a pair: its stamp on the device's clock and its receipt on the host's. Receipts come late by a delay
that varies and is never negative, so the truth is a line below all pairs. The smallest delay itself cannot be seen
from here: a camera's configured latency accounts for it.
"""

from collections import deque
from itertools import pairwise

from hardware.clock import NS_PER_S

Point = tuple[float, float]


class Unwrap:
    """Makes a counter that starts again at zero after `period_ns` run on."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._base_ns = 0
        self._last_ns = 0

    def __call__(self, raw_ns: int) -> int:
        """Return the count with the turns added; a step back by more than half a period is a turn."""
        if raw_ns < self._last_ns - self._period_ns // 2:
            self._base_ns += self._period_ns
        self._last_ns = raw_ns
        return self._base_ns + raw_ns


class ClockMap:
    """Host time of device stamps, from a sliding window of (stamp, receipt) pairs.

    The delays' lower hull gives the line (Moon, Skelly and Towsley, "Estimation and removal of clock skew from network
    delay measurements", INFOCOM 1999): of all lines below every point, the one nearest to them. Only the smallest delay
    of each half second is kept. Within the first ten seconds the drift is taken as zero.
    """

    BIN_S = 0.5
    WINDOW_S = 60.0
    DRIFT_AFTER_S = 10.0
    MAX_DRIFT = 2e-4
    JUMP_S = 0.1
    LATE_S = 5.0

    def __init__(self) -> None:
        self._last_host_ns: int | None = None
        self._late_since_s: float | None = None
        self._origin: tuple[int, int] | None = None
        self._bins: deque[Point] = deque()
        self._drift = 0.0
        self._offset_s = 0.0

    @property
    def drift(self) -> float:
        """Host seconds gained on each device second: 1e-5 is a device clock that is slow by 10 parts per million."""
        return self._drift

    def restart(self) -> None:
        """Begin the estimate anew, for instance because the device was reset and its clock with it."""
        self._origin = None

    def map(self, device_ns: int, receipt_ns: int) -> int:
        """Return the host time of a stamp: never after its receipt, never before what the last call returned.

        Takes stamps in rising order. A device clock that leaps is noticed and the estimate begun anew.
        """
        if self._origin is None:
            self._begin(device_ns, receipt_ns)
        x, y = self._point(device_ns, receipt_ns)
        lateness_s = y - self._line(x)
        if lateness_s <= self.JUMP_S:
            self._late_since_s = None
        elif self._late_since_s is None:
            self._late_since_s = x
        leapt_back = self._late_since_s is not None and x - self._late_since_s > self.LATE_S
        if lateness_s < -self.JUMP_S or leapt_back:
            self._begin(device_ns, receipt_ns)
            x, y = 0.0, 0.0
        self._learn(x, y)
        host_ns = receipt_ns - round(max(0.0, y - self._line(x)) * NS_PER_S)
        if self._last_host_ns is not None:
            host_ns = min(max(host_ns, self._last_host_ns + 1), max(receipt_ns, self._last_host_ns))
        self._last_host_ns = host_ns
        return host_ns

    def _begin(self, device_ns: int, receipt_ns: int) -> None:
        self._origin = (device_ns, receipt_ns)
        self._late_since_s = None
        self._bins.clear()
        self._drift = self._offset_s = 0.0

    def _point(self, device_ns: int, receipt_ns: int) -> Point:
        """Return seconds on the device's clock since the origin, and the delay beyond that of the origin."""
        device_origin_ns, receipt_origin_ns = self._origin or (device_ns, receipt_ns)
        x_ns = device_ns - device_origin_ns
        return x_ns / NS_PER_S, (receipt_ns - receipt_origin_ns - x_ns) / NS_PER_S

    def _line(self, x: float) -> float:
        return self._offset_s + self._drift * x

    def _learn(self, x: float, y: float) -> None:
        """Lower the line at once to a point below it; fit it anew when a bin begins."""
        if self._bins and x // self.BIN_S == self._bins[-1][0] // self.BIN_S:
            if y - self._drift * x < self._bins[-1][1] - self._drift * self._bins[-1][0]:
                self._bins[-1] = (x, y)
        else:
            while self._bins and self._bins[0][0] < x - self.WINDOW_S:
                self._bins.popleft()
            self._fit()
            self._bins.append((x, y))
        self._offset_s = min(self._offset_s, y - self._drift * x)

    def _fit(self) -> None:
        if not self._bins:
            return
        if self._bins[-1][0] - self._bins[0][0] >= self.DRIFT_AFTER_S:
            self._drift = min(max(_slope_below(list(self._bins)), -self.MAX_DRIFT), self.MAX_DRIFT)
        self._offset_s = min(y - self._drift * x for x, y in self._bins)


def _slope_below(points: list[Point]) -> float:
    """Return the slope of the line below all points, sorted by x, whose summed distance to them is least.

    It is the edge of the lower convex hull that spans the points' mean.
    """
    hull: list[Point] = []
    for point in points:
        while len(hull) > 1 and _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    mean = sum(x for x, _ in points) / len(points)
    for (x0, y0), (x1, y1) in pairwise(hull):
        if x0 <= mean <= x1:
            return (y1 - y0) / (x1 - x0)
    return 0.0


def _turns_right(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])
