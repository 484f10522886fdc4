import pytest
import torch
from torch import Tensor

from policies.moments import (
    Factors,
    mean_between_factors,
    mean_to_factors,
    mean_to_weight,
    square_between_factors,
    square_to_factors,
    square_to_weight,
    turn,
)


def some_factors(m: int, n: int, r: int, seed: int = 0) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    u, _ = torch.linalg.qr(torch.randn((m, r), generator=generator, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn((n, r), generator=generator, dtype=torch.float64))
    return Factors(u, torch.rand(r, generator=generator, dtype=torch.float64) + 0.5, v)


def factor_gradients(gradient: Tensor, of: Factors) -> Factors:
    """By autograd, from the gradient of W = U diag(S) V^T."""
    u, s, v = (part.clone().requires_grad_(True) for part in (of.u, of.s, of.v))
    grads = torch.autograd.grad(((u * s) @ v.T * gradient).sum(), (u, s, v))
    return Factors(*grads)


def parts(factors: Factors) -> tuple[Tensor, Tensor, Tensor]:
    return factors.u, factors.s, factors.v


def test_the_mean_gradient_of_the_weight_gives_the_factors_gradients() -> None:
    to = some_factors(7, 9, 4)
    gradient = torch.randn(7, 9, dtype=torch.float64)
    for found, expected in zip(
        parts(mean_to_factors(gradient, to)), parts(factor_gradients(gradient, to)), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_second_moments_are_those_of_independent_gradient_entries() -> None:
    torch.manual_seed(0)
    to = some_factors(7, 9, 4)
    deviation = torch.rand(7, 9, dtype=torch.float64) + 0.1
    draws = [factor_gradients(deviation * torch.randn(7, 9, dtype=torch.float64), to) for _ in range(1500)]
    found = square_to_factors(deviation**2, to)
    for index, value in enumerate(parts(found)):
        measured = torch.stack([parts(draw)[index] for draw in draws]).square().mean(0)
        torch.testing.assert_close(value, measured, rtol=0.2, atol=0.0)


def test_between_factors_the_basis_is_turned_with_nothing_lost_that_the_old_one_could_see() -> None:
    old, new = some_factors(7, 9, 7, seed=1), some_factors(7, 9, 3, seed=2)
    new = Factors(new.u, new.s, old.v @ (old.v.T @ new.v))  # within the old span
    gradient = torch.randn(7, 9, dtype=torch.float64)
    found = mean_between_factors(factor_gradients(gradient, old), turn(old, new))
    for value, expected in zip(parts(found), parts(factor_gradients(gradient, new)), strict=True):
        torch.testing.assert_close(value, expected)


def test_between_factors_a_drifted_basis_is_turned_exactly_too() -> None:
    torch.manual_seed(0)
    old = some_factors(6, 9, 6, seed=1)
    old = Factors(old.u + 0.2 * torch.randn_like(old.u), -old.s, old.v + 0.1 * torch.randn_like(old.v))
    new = some_factors(6, 9, 3, seed=2)
    new = Factors(new.u, new.s, old.v @ torch.randn(6, 3, dtype=torch.float64))
    gradient = torch.randn(6, 9, dtype=torch.float64)
    found = mean_between_factors(factor_gradients(gradient, old), turn(old, new))
    for value, expected in zip(parts(found), parts(factor_gradients(gradient, new)), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("kept", [2, 4])
def test_between_equal_bases_the_second_moments_of_the_kept_directions_are_unchanged(kept: int) -> None:
    old = some_factors(7, 9, 4)
    new = Factors(old.u[:, :kept], old.s[:kept], old.v[:, :kept])
    square = Factors(*(torch.rand_like(part) for part in parts(old)))
    found = square_between_factors(square, turn(old, new))
    torch.testing.assert_close(found.u, square.u[:, :kept])
    torch.testing.assert_close(found.s, square.s[:kept])
    torch.testing.assert_close(found.v, square.v[:, :kept])


def test_a_direction_that_is_new_gets_the_mean_second_moment_and_not_zero() -> None:
    full = some_factors(8, 9, 8)
    old = Factors(full.u[:, :4], full.s[:4], full.v[:, :4])
    new = Factors(full.u[:, 4:6], full.s[4:6], full.v[:, 4:6])
    variance = 0.3
    square = square_to_factors(torch.full((8, 9), variance, dtype=torch.float64), old)
    expected = square_to_factors(torch.full((8, 9), variance, dtype=torch.float64), new)
    for value, other in zip(parts(square_between_factors(square, turn(old, new))), parts(expected), strict=True):
        torch.testing.assert_close(value, other)


def test_back_at_full_rank_the_mean_is_all_that_the_factors_could_see() -> None:
    old = some_factors(7, 9, 3)
    gradient = torch.randn(7, 9, dtype=torch.float64)
    back = mean_to_weight(factor_gradients(gradient, old), old)
    torch.testing.assert_close(back @ old.v, gradient @ old.v)
    torch.testing.assert_close(back.T @ old.u, gradient.T @ old.u)
    blind = torch.eye(7, dtype=torch.float64) - old.u @ old.u.T
    torch.testing.assert_close(
        blind @ back @ (torch.eye(9, dtype=torch.float64) - old.v @ old.v.T), torch.zeros(7, 9).double()
    )


def test_back_at_full_rank_the_second_moment_has_the_row_and_column_pattern() -> None:
    old = some_factors(7, 9, 7)
    pattern = torch.outer(torch.rand(7, dtype=torch.float64) + 0.1, torch.ones(9, dtype=torch.float64))
    back = square_to_weight(square_to_factors(pattern, old), old)
    torch.testing.assert_close(back.mean(1) / back.mean(), pattern.mean(1) / pattern.mean())
    assert bool((back > 0).all())


def test_moments_are_carried_where_an_svd_does_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    """LAPACK's did not on factors of a run, orthonormal but for rounding and finite."""

    def fails(*_: object, **__: object) -> None:
        raise torch.linalg.LinAlgError("linalg.svd: The algorithm failed to converge")

    for name in ("svd", "svdvals", "pinv", "matrix_rank", "cond"):
        monkeypatch.setattr(torch.linalg, name, fails)
    old, new, mean = (some_factors(7, 9, 4, seed) for seed in range(3))
    for carried in (mean_between_factors(mean, turn(old, new)), square_between_factors(mean, turn(old, new))):
        assert all(part.isfinite().all() for part in parts(carried))
    assert mean_to_weight(mean, old).isfinite().all()
