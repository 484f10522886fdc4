"""Adam's moments carried from one parametrisation of a weight matrix to another when the trainable rank changes.

With W = U diag(S) V^T + frozen and G the gradient of W, the factors' gradients are linear in G:

    dU = (G V) S        dS = diag(U^T G V)        dV = (G^T U) S

so a mean of G gives the means of the factors' gradients exactly. Second moments follow the same maps with every
coefficient squared, which is exact for independent entries of G. Nothing here knows of layers or optimisers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factors:
    """W = u diag(s) v^T with u (m, r), s (r,), v (n, r); also the moments of such factors."""

    u: Tensor
    s: Tensor
    v: Tensor


def mean_to_factors(mean: Tensor, to: Factors) -> Factors:
    """Return the first moments of the factors from that of the weight (m, n)."""
    along_v = mean @ to.v
    return Factors(along_v * to.s, (to.u * along_v).sum(0), (mean.T @ to.u) * to.s)


def square_to_factors(square: Tensor, to: Factors) -> Factors:
    """Return the second moments of the factors from that of the weight (m, n)."""
    return mean_to_factors(square, Factors(to.u**2, to.s**2, to.v**2))


@dataclass(frozen=True)
class Turn:
    """From one basis of factors to another: the coordinates (r_old, r_new) of the new u and v in the old ones."""

    old: Factors
    new: Factors
    along_u: Tensor
    along_v: Tensor


def turn(old: Factors, new: Factors) -> Turn:
    """Return the turn from one basis to another, by least squares where the new one leaves the old one's span."""
    return Turn(old, new, _left_inverse(old.u) @ new.u, _left_inverse(old.v) @ new.v)


def mean_between_factors(mean: Factors, turn: Turn) -> Factors:
    """Return the first moments in a new basis."""
    old, new = turn.old, turn.new
    along_v = (mean.u / _safe(old.s)) @ turn.along_v
    along_u = (mean.v / _safe(old.s)) @ turn.along_u
    return Factors(along_v * new.s, (new.u * along_v).sum(0), along_u * new.s)


def square_between_factors(square: Factors, turn: Turn) -> Factors:
    """Return the second moments in a new basis.

    Each new direction is a mixture of old ones, weighted by its squared coordinates; what lies outside the old
    span is given the mean of the old directions, so that a new direction does not start with a giant step.
    """
    old, new, weights_u, weights_v = turn.old, turn.new, turn.along_u**2, turn.along_v**2
    along_v = _mix(square.u / _safe(old.s) ** 2, weights_v)
    along_u = _mix(square.v / _safe(old.s) ** 2, weights_u)
    return Factors(along_v * new.s**2, _mix(square.s, weights_u * weights_v), along_u * new.s**2)


def mean_to_weight(mean: Factors, old: Factors) -> Tensor:
    """Return the first moment (m, n) of the weight: all of it that the factors can see, zero elsewhere."""
    along_v, along_u = mean.u / _safe(old.s), mean.v / _safe(old.s)
    pinv_u, pinv_v = _left_inverse(old.u), _left_inverse(old.v)
    mean_weight: Tensor = (along_v - pinv_u.T @ (old.u.T @ along_v)) @ pinv_v + pinv_u.T @ along_u.T
    return mean_weight


def square_to_weight(square: Factors, old: Factors) -> Tensor:
    """Return the second moment (m, n) of the weight as the outer product of its row and column means (as Adafactor)."""
    rows = (square.u / _safe(old.s) ** 2).mean(1)
    columns = (square.v / _safe(old.s) ** 2).mean(1)
    return torch.outer(rows, columns / columns.mean().clamp(min=torch.finfo(columns.dtype).tiny))


def _left_inverse(tall: Tensor) -> Tensor:
    """Return the pseudo-inverse (r, m) of a matrix (m, r) with independent columns.

    By a QR decomposition: an SVD need not converge on columns that are orthonormal but for rounding.
    """
    q, r = torch.linalg.qr(tall)
    inverse: Tensor = torch.linalg.solve_triangular(r, q.T, upper=True)
    return inverse


def _mix(values: Tensor, weights: Tensor) -> Tensor:
    """Return values (..., r_old) mixed by weights (r_old, r_new), each column filled up to one with the mean."""
    missing = (1 - weights.sum(0)).clamp(min=0)
    return values @ weights + values.mean(-1, keepdim=True) * missing


def _safe(s: Tensor) -> Tensor:
    """Return singular values that one may divide by: sign kept, size at least a millionth of the largest."""
    floor = (1e-6 * s.abs().max()).clamp(min=1e-12)
    return torch.where(s < 0, -1.0, 1.0).to(s.dtype) * s.abs().clamp(min=floor)
