import copy
import dataclasses

import policy_samples as samples
import pytest
import torch

from policies.errors import PolicyError
from policies.frames import rotation_from_six
from policies.policy import DiffusionPolicy, Observation, PolicyConfig
from policies.shares import Share
from policies.unet import ConditionalUnet1d

DDPM = {"object_dim": 0, "sampler": "ddpm", "prediction": "sample"}
CAMERAS = {"cameras": {"wrist": (48, 64), "fixed": (40, 40)}}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone": "transformer"},
        {"action_frame": "absolute"},
        CAMERAS,
        {"object_dim": 0, "sampler": "ddpm", "prediction": "sample"},
    ],
)
def test_every_kind_of_policy_acts_with_true_rotations_and_a_gripper_within_bounds(changes: dict[str, object]) -> None:
    config = samples.small_config(**changes)
    observation = samples.some_observation(3, config=config)
    torch.manual_seed(0)
    policy = DiffusionPolicy(config)
    actions = torch.cat([observation.commanded, torch.ones(3, 1)], dim=-1)[:, None].expand(3, 16, 10)
    policy.fit_normalizer(observation, actions)
    chunk = policy.act(observation, seeded())
    assert chunk.shape == (3, 16, 10)
    rotation = rotation_from_six(chunk[..., 3:9])
    torch.testing.assert_close(rotation[..., :2].transpose(-1, -2).flatten(-2), chunk[..., 3:9], rtol=0, atol=1e-5)
    assert bool(((chunk[..., 9] >= 0) & (chunk[..., 9] <= 1)).all())
    assert torch.equal(chunk, policy.act(observation, seeded()))
    loss = policy.loss(observation, actions, torch.ones(3, 16), seeded())
    assert loss.shape == (3,)
    loss.mean().backward()
    assert all(parameter.grad is not None for parameter in policy.parameters())


@pytest.mark.parametrize("action_frame", ["relative", "absolute"])
def test_a_committed_prefix_comes_out_exactly(action_frame: str) -> None:
    state, observation, actions = samples.some_training(batch=4, action_frame=action_frame)
    prefix = actions[:, :3]
    chunk = state.policy.act(observation, seeded(), prefix)
    assert torch.equal(chunk[:, :3], prefix)
    assert not torch.equal(chunk, state.policy.act(observation, seeded()))


def test_the_loss_of_a_relative_policy_does_not_depend_on_where_in_the_cell_the_chunk_is() -> None:
    state, observation, actions = samples.some_training(batch=4)
    shift = torch.tensor([0.3, -0.2, 0.1])
    moved_actions, commanded = actions.clone(), observation.commanded.clone()
    moved_actions[..., :3] += shift
    commanded[:, :3] += shift
    moved = dataclasses.replace(observation, commanded=commanded)
    mask = torch.ones(4, 16)
    here = state.policy.loss(observation, actions, mask, seeded())
    torch.testing.assert_close(state.policy.loss(moved, moved_actions, mask, seeded()), here, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, CAMERAS], ids=["low-dimensional", "cameras"])
def test_the_losses_of_a_batchs_shares_are_those_of_the_whole(changes: dict[str, object]) -> None:
    state, observation, actions = samples.some_training(batch=4, **changes)
    mask, halves = torch.ones(4, 16), (Share(0, 2), Share(1, 2))
    whole = state.policy.loss(observation, actions, mask, seeded())
    parts = [
        state.policy.loss(_share_of(observation, half), half.of(actions), half.of(mask), seeded(), share=half)
        for half in halves
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def _share_of(observation: Observation, share: Share) -> Observation:
    images = {name: share.of(image) for name, image in observation.images.items()}
    parts = (share.of(observation.tcp), share.of(observation.commanded))
    return Observation(*parts, share.of(observation.gripper), share.of(observation.objects), images)


def test_masked_steps_do_not_teach() -> None:
    state, observation, actions = samples.some_training(batch=4)
    mask = torch.ones(4, 16)
    mask[:, 6:] = 0
    other = actions.clone()
    other[:, 6:, 9] = 1 - other[:, 6:, 9]
    policy = state.policy

    def pure_target_loss(target: torch.Tensor) -> torch.Tensor:
        # a network that ignores its input: the loss then depends on the targets at the masked-in steps alone
        with torch.no_grad():
            for parameter in policy.backbone.parameters():
                parameter.zero_()
        return policy.loss(observation, target, mask, seeded())

    torch.testing.assert_close(pure_target_loss(actions), pure_target_loss(other))


def test_the_gradient_at_the_output_is_zero_where_the_mask_is() -> None:
    state, observation, actions = samples.some_training(batch=4)
    outputs: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    state.policy.backbone.register_forward_hook(keep)
    mask = torch.zeros(4, 16)
    mask[:, 2:5] = 1
    state.policy.loss(observation, actions, mask, seeded()).sum().backward()
    gradient = outputs[0].grad
    assert gradient is not None
    assert bool((gradient[:, 2:5] != 0).all())
    assert bool((gradient[:, :2] == 0).all())
    assert bool((gradient[:, 5:] == 0).all())


def test_a_sample_without_any_step_in_its_mask_has_no_loss_and_the_others_are_averages() -> None:
    state, observation, actions = samples.some_training(batch=4)
    mask = torch.ones(4, 16)
    whole = state.policy.loss(observation, actions, mask, seeded())
    mask[1] = 0
    masked = state.policy.loss(observation, actions, mask, seeded())
    assert masked[1].item() == 0.0
    torch.testing.assert_close(masked[[0, 2, 3]], whole[[0, 2, 3]])


def test_repeats_train_several_diffusion_steps_on_one_encoding() -> None:
    state, observation, actions = samples.some_training(batch=4, **CAMERAS)
    encodings = []
    state.policy.encoders["wrist"].register_forward_hook(lambda *_: encodings.append(1))
    steps: list[torch.Tensor] = []
    state.policy.backbone.register_forward_hook(lambda _module, inputs, _output: steps.append(inputs[1]))
    loss = state.policy.loss(observation, actions, torch.ones(4, 16), seeded(), repeats=5)
    assert loss.shape == (4,)
    assert len(encodings) == 1
    assert len(steps[0]) == 20
    assert len(set(steps[0].tolist())) > 5


def test_a_policy_trained_on_one_batch_acts_as_it_was_shown() -> None:
    state, observation, actions = samples.some_training(batch=16, prediction="sample")
    before = (state.policy.act(observation, seeded()) - actions).abs().mean()
    samples.train(state, observation, actions, 60, repeats=4)
    after = (state.policy.act(observation, seeded()) - actions).abs().mean()
    assert float(after) < 0.5 * float(before)


def test_the_normalisers_travel_with_the_weights() -> None:
    state, observation, _ = samples.some_training(batch=4)
    twin = DiffusionPolicy(state.policy.config)
    twin.load_state_dict(state.acting_weights())
    torch.testing.assert_close(twin.encode(observation), state.policy.encode(observation))
    assert torch.equal(twin.action_normalizer.half_range, state.policy.action_normalizer.half_range)


def test_images_are_cropped_at_random_only_with_a_generator() -> None:
    state, observation, _ = samples.some_training(batch=4, **CAMERAS)
    policy = state.policy.eval()
    assert torch.equal(policy.encode(observation), policy.encode(observation))
    assert not torch.equal(policy.encode(observation, seeded(1)), policy.encode(observation, seeded(2)))
    assert torch.equal(policy.encode(observation, seeded(1)), policy.encode(observation, seeded(1)))


def test_a_frozen_encoders_convolutions_are_not_trained_but_its_key_points_are() -> None:
    state, observation, actions = samples.some_training(batch=2, freeze_vision=True, **CAMERAS)
    before = copy.deepcopy(state.policy.encoders.state_dict())
    samples.train(state, observation, actions, 2)
    changed = {n for n, value in state.policy.encoders.state_dict().items() if not torch.equal(value, before[n])}
    assert changed
    assert all(".keypoints." in name for name in changed)


def test_a_missing_camera_and_a_picture_of_another_size_are_named() -> None:
    config = samples.small_config(**CAMERAS)
    policy = DiffusionPolicy(config)
    observation = samples.some_observation(1, config=config)
    with pytest.raises(PolicyError, match="'wrist'"):
        policy.encode(dataclasses.replace(observation, images={"fixed": observation.images["fixed"]}))
    swapped = {"fixed": observation.images["wrist"], "wrist": observation.images["wrist"]}
    with pytest.raises(PolicyError, match="48x64"):
        policy.encode(dataclasses.replace(observation, images=swapped))


@pytest.mark.parametrize(
    "changes",
    [
        {"action_horizon": 17},
        {"pred_horizon": 9, "action_horizon": 4},
        {"unet_dims": (20, 32)},
        {"backbone": "transformer", "transformer_heads": 3},
    ],
)
def test_an_impossible_configuration_is_one_sentence(changes: dict[str, object]) -> None:
    with pytest.raises(PolicyError, match=r"must be|above"):
        DiffusionPolicy(samples.small_config(**changes))


def test_the_smallest_and_a_deeper_unet_keep_the_shape() -> None:
    for dims in ((32, 64), (8, 16, 24)):
        network = ConditionalUnet1d(10, 6, dims, 16)
        assert network(torch.randn(2, 16, 10), torch.tensor([0, 99]), torch.randn(2, 6)).shape == (2, 16, 10)


def test_the_condition_and_the_diffusion_step_matter() -> None:
    for backbone in ("unet", "transformer"):
        torch.manual_seed(0)
        policy = DiffusionPolicy(samples.small_config(backbone=backbone))
        noisy, condition = torch.randn(1, 16, 10), torch.randn(1, policy.condition_dim)
        base = policy.backbone(noisy, torch.tensor([5]), condition)
        assert not torch.allclose(policy.backbone(noisy, torch.tensor([90]), condition), base)
        assert not torch.allclose(policy.backbone(noisy, torch.tensor([5]), -condition), base)


def test_the_default_configuration_is_the_papers() -> None:
    config = PolicyConfig()
    assert (config.obs_horizon, config.pred_horizon, config.action_horizon, config.train_timesteps) == (2, 16, 8, 100)
