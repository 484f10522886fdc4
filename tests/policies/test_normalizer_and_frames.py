import policy_samples as samples
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.frames import absolute_actions, orthonormal_actions, relative_actions, rotation_from_six
from policies.normalizer import Normalizer


def fitted(data: torch.Tensor, limit: float = 2.0, **options: float) -> Normalizer:
    normalizer = Normalizer(data.shape[-1], limit)
    normalizer.fit(data, torch.full((data.shape[-1],), 0.05), **options)
    return normalizer


def test_the_data_are_mapped_onto_minus_one_to_one_and_back() -> None:
    data = torch.randn(50, 4) * torch.tensor([1.0, 5.0, 0.2, 3.0])
    normalizer = fitted(data)
    y = normalizer.normalize(data)
    torch.testing.assert_close(y.amin(0), -torch.ones(4))
    torch.testing.assert_close(y.amax(0), torch.ones(4))
    torch.testing.assert_close(normalizer.denormalize(y), data)


def test_a_dimension_that_hardly_moves_keeps_the_floor() -> None:
    normalizer = fitted(torch.tensor([[1.0, 0.0], [1.001, 2.0]]))
    torch.testing.assert_close(normalizer.half_range, torch.tensor([0.05, 1.0]))


def test_inputs_are_clamped_to_the_limit() -> None:
    normalizer = fitted(torch.tensor([[-1.0], [1.0]]))
    torch.testing.assert_close(
        normalizer.normalize(torch.tensor([[-100.0], [1.5], [7.0]])), torch.tensor([[-2.0], [1.5], [2.0]])
    )


def test_grouped_dimensions_share_the_largest_range_and_a_margin_widens_it() -> None:
    data = torch.tensor([[0.0, 0.0, 0.0], [1.0, 4.0, 1.0]])
    normalizer = Normalizer(3, 2.0)
    normalizer.fit(data, torch.zeros(3), [slice(0, 2)], margin=1.5)
    torch.testing.assert_close(normalizer.half_range, torch.tensor([3.0, 3.0, 0.75]))


@pytest.mark.parametrize("data", [torch.zeros(0, 2), torch.tensor([[0.0, float("nan")]])])
def test_data_that_cannot_be_fitted_are_an_error(data: torch.Tensor) -> None:
    with pytest.raises(PolicyError, match="empty or hold values"):
        fitted(data)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_relative_actions_come_back_absolute(seed: int) -> None:
    observation = samples.some_observation(3, seed)
    generator = torch.Generator().manual_seed(seed)
    rotation = samples.random_rotations(15, generator).view(3, 5, 3, 3)
    actions = torch.cat(
        [torch.randn((3, 5, 3), generator=generator), rotation[..., 0], rotation[..., 1], torch.rand(3, 5, 1)], dim=-1
    )
    back = absolute_actions(relative_actions(actions, observation.commanded), observation.commanded)
    torch.testing.assert_close(back, actions, rtol=1e-4, atol=1e-5)


def test_staying_at_the_commanded_pose_is_no_motion_and_no_rotation() -> None:
    commanded = samples.some_observation(2).commanded
    stay = torch.cat([commanded, torch.ones(2, 1)], dim=-1)[:, None]
    expected = torch.tensor([0, 0, 0, 1, 0, 0, 0, 1, 0, 1.0]).expand(2, 1, 10)
    torch.testing.assert_close(relative_actions(stay, commanded), expected, rtol=0, atol=1e-5)


def test_a_relative_position_is_in_base_axes() -> None:
    commanded = samples.some_observation(1).commanded
    up = torch.cat([commanded, torch.ones(1, 1)], dim=-1)[:, None] + torch.tensor([0, 0, 0.1, 0, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(relative_actions(up, commanded)[0, 0, :3], torch.tensor([0, 0, 0.1]))


def test_rotations_are_made_orthonormal_and_right_handed() -> None:
    rough = torch.randn(20, 10)
    rotation = rotation_from_six(orthonormal_actions(rough)[..., 3:9])
    torch.testing.assert_close(rotation.transpose(-1, -2) @ rotation, torch.eye(3).expand(20, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20))
    torch.testing.assert_close(rotation_from_six(rough[:, 3:9]), rotation, rtol=1e-4, atol=1e-5)
