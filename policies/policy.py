"""The diffusion policy: observations in, chunks of absolute actions out, and the loss that trains it.

Inside, actions are (by default) relative to the commanded pose and normalised; what enters and leaves is always
absolute, base_from_tcp. How the backbone's weights are trained (rank modulation) is not known here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from policies.compiled import compiled, plain
from policies.diffusion import Diffusion, SamplerKind
from policies.errors import PolicyError
from policies.frames import ACTION_DIM, POSE_DIM, absolute_actions, orthonormal_actions, relative_actions
from policies.normalizer import Normalizer
from policies.shares import WHOLE, Share
from policies.transformer import DiffusionTransformer
from policies.unet import ConditionalUnet1d
from policies.vision import ImageEncoder, VisionKind

Positive = Annotated[int, Field(ge=1, le=8192)]

OBSERVATION_LIMIT = 2.0
ACTION_MARGIN = 1.2
POSITION_FLOOR_M = 0.05
ROTATION_FLOOR = 0.2
OBJECT_FLOOR = 0.05
GRIPPER_FLOOR = 0.5
ACTION_FLOORS = (0.01, 0.01, 0.01, *(0.03,) * 6, GRIPPER_FLOOR)


@dataclasses.dataclass(frozen=True)
class Observation:
    """What the policy sees, a batch of B with the last To steps, newest last; SI units, float32.

    `tcp` (B, To, 9) measured base_from_tcp; `commanded` (B, 9) the commanded pose at the newest step; `gripper`
    (B, To, 1) opening; `objects` (B, To, K); `images` per camera (B, To, h, w, 3) uint8 RGB.
    """

    tcp: Tensor
    commanded: Tensor
    gripper: Tensor
    objects: Tensor
    images: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def to(self, device: torch.device | str) -> "Observation":
        """Return the observation on a device."""
        return Observation(
            self.tcp.to(device),
            self.commanded.to(device),
            self.gripper.to(device),
            self.objects.to(device),
            {name: image.to(device) for name, image in self.images.items()},
        )


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PolicyConfig:
    """Everything that decides a policy's architecture; stored with every checkpoint. Camera sizes are (h, w).

    `condition_width` is the size of the condition for each observation step. The network predicts the noise
    ("epsilon", as in the paper) or the clean chunk ("sample", which needs several times fewer updates).
    """

    backbone: Literal["unet", "transformer"] = "unet"
    unet_dims: Annotated[tuple[Positive, ...], Field(max_length=8)] = (64, 128)
    transformer_dim: Annotated[int, Field(ge=4, le=8192)] = 128
    transformer_layers: Annotated[int, Field(ge=1, le=64)] = 4
    transformer_heads: Positive = 4
    step_embedding_dim: Annotated[int, Field(ge=4, le=8192)] = 64
    condition_width: Positive = 64
    object_dim: Annotated[int, Field(ge=0, le=8192)] = 8
    cameras: Annotated[dict[str, tuple[Positive, Positive]], Field(max_length=16)] = dataclasses.field(
        default_factory=dict
    )
    vision: VisionKind = "resnet18"
    freeze_vision: bool = False
    action_frame: Literal["relative", "absolute"] = "relative"
    obs_horizon: Positive = 2
    pred_horizon: Positive = 16
    action_horizon: Positive = 8
    train_timesteps: Positive = 100
    prediction: Literal["epsilon", "sample"] = "epsilon"
    sampler: SamplerKind = "ddim"
    sample_steps: Positive = 10


def resting_observation(config: PolicyConfig) -> Observation:
    """Return an observation (B = 1) of a resting arm: poses unrotated, objects at zero, pictures black."""
    pose, steps = torch.tensor([0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), config.obs_horizon
    return Observation(
        tcp=pose.expand(1, steps, -1),
        commanded=pose[None],
        gripper=torch.ones(1, steps, 1),
        objects=torch.zeros(1, steps, config.object_dim),
        images={name: torch.zeros(1, steps, *size, 3, dtype=torch.uint8) for name, size in config.cameras.items()},
    )


class DiffusionPolicy(nn.Module):
    """A diffusion policy over action chunks; `backbone` is the part whose rank may be modulated.

    With `compiled` set, chunks for a single observation come from the compiled backbone.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        if config.action_horizon > config.pred_horizon:
            raise PolicyError(
                f"policy: action_horizon ({config.action_horizon}) is above pred_horizon ({config.pred_horizon})."
            )
        self.config = config
        self.tcp_normalizer = Normalizer(POSE_DIM, OBSERVATION_LIMIT)
        self.gripper_normalizer = Normalizer(1, OBSERVATION_LIMIT)
        self.object_normalizer = Normalizer(config.object_dim, OBSERVATION_LIMIT)
        self.action_normalizer = Normalizer((config.pred_horizon, ACTION_DIM), 1.0)
        self.encoders = nn.ModuleDict(
            {
                name: ImageEncoder(config.vision, size, config.freeze_vision)
                for name, size in sorted(config.cameras.items())
            }
        )
        step_dim = POSE_DIM + 1 + config.object_dim + ImageEncoder.feature_dim * len(self.encoders)
        self.condition_dim = config.obs_horizon * config.condition_width
        self.condition_encoder = nn.Sequential(
            nn.Linear(config.obs_horizon * step_dim, self.condition_dim),
            nn.Mish(),
            nn.Linear(self.condition_dim, self.condition_dim),
            nn.Mish(),
            nn.Linear(self.condition_dim, self.condition_dim),
        )
        self.diffusion = Diffusion(config.train_timesteps)
        self.backbone = self._make_backbone()
        self.compiled = False

    def _make_backbone(self) -> nn.Module:
        config = self.config
        if config.backbone == "transformer":
            return DiffusionTransformer(
                ACTION_DIM,
                self.condition_dim,
                config.obs_horizon,
                config.pred_horizon,
                config.transformer_dim,
                config.transformer_layers,
                config.transformer_heads,
            )
        shrink = 2 ** (len(config.unet_dims) - 1)
        if config.pred_horizon % shrink:
            raise PolicyError(f"policy: pred_horizon ({config.pred_horizon}) must be a multiple of {shrink}.")
        return ConditionalUnet1d(ACTION_DIM, self.condition_dim, config.unet_dims, config.step_embedding_dim)

    @property
    def device(self) -> torch.device:
        """Where the policy is; what it is given may be elsewhere."""
        return self.diffusion.alphas_cumulative.device

    def fit_normalizer(self, observation: Observation, actions: Tensor) -> None:
        """Fit all normalisers, once, to the observations and absolute actions (B, H, 10) of the demonstrations."""
        position, rotation = slice(0, 3), slice(3, 9)
        pose_floors = torch.tensor([POSITION_FLOOR_M] * 3 + [ROTATION_FLOOR] * 6)
        grip = torch.tensor([GRIPPER_FLOOR])
        self.tcp_normalizer.fit(observation.tcp, pose_floors, (position, rotation))
        self.gripper_normalizer.fit(torch.tensor([[0.0], [1.0]]), grip)
        if self.config.object_dim:
            self.object_normalizer.fit(observation.objects, torch.full((self.config.object_dim,), OBJECT_FLOOR))
        inner = self._inner_actions(actions, observation.commanded)
        closed_and_open = inner[:1].expand(2, -1, -1).clone()
        closed_and_open[..., 9] = torch.tensor([[0.0], [1.0]])
        floors = torch.tensor(ACTION_FLOORS)
        self.action_normalizer.fit(torch.cat([inner, closed_and_open]), floors, (position, rotation), ACTION_MARGIN)

    def encode(
        self, observation: Observation, generator: torch.Generator | None = None, share: Share = WHOLE
    ) -> Tensor:
        """Return the condition (B, C). With a generator images are cropped at random (training), else centrally."""
        parts = [
            self.tcp_normalizer.normalize(observation.tcp),
            self.gripper_normalizer.normalize(observation.gripper),
            self.object_normalizer.normalize(observation.objects),
        ]
        for name, encoder in self.encoders.items():
            if name not in observation.images:
                raise PolicyError(f"policy: the observation has no images of camera {name!r}, which it was made for.")
            parts.append(encoder(observation.images[name], generator, share))
        condition: Tensor = self.condition_encoder(torch.cat(parts, dim=-1).flatten(1))
        return condition

    def loss(
        self,
        observation: Observation,
        actions: Tensor,
        mask: Tensor,
        generator: torch.Generator,
        repeats: int = 1,
        denoising_share: float = 1.0,
        share: Share = WHOLE,
    ) -> Tensor:
        """Return the denoising error (B,) of absolute actions (B, H, 10), averaged over the steps where mask is 1.

        Each observation is encoded once and trained at `repeats` diffusion steps, drawn from the last share of the
        denoising steps, at least one. A sample without any step in its mask (B, H) has loss 0. The batch may be a
        share of a larger one.
        """
        observation, actions, mask = observation.to(self.device), actions.to(self.device), mask.to(self.device)
        condition = self.encode(observation, generator, share).repeat_interleave(repeats, dim=0)
        clean = self._clean(actions, observation.commanded).repeat_interleave(repeats, dim=0)
        timestep = torch.randint(
            max(1, round(denoising_share * self.config.train_timesteps)),
            (share.count * len(clean),),
            generator=generator,
            device=generator.device,
        )
        timestep = share.of(timestep).to(self.device)
        shape = (share.count * len(clean), *clean.shape[1:])
        noise = share.of(torch.randn(shape, generator=generator, device=generator.device)).to(self.device)
        error = self._denoising_error(clean, timestep, noise, condition).view(len(actions), repeats, -1).mean(1)
        per_sample: Tensor = (error * mask).sum(1) / mask.sum(1).clamp(min=1)
        return per_sample

    @torch.no_grad()
    def denoising_errors(
        self, condition: Tensor, commanded: Tensor, actions: Tensor, timesteps: Tensor, noise: Tensor
    ) -> Tensor:
        """Return the denoising error (B, D, H) of absolute actions (B, H, 10) at D given draws, the same for each.

        `condition` (B, C) is the encoded observation, `commanded` (B, 9) its commanded pose; a draw is a diffusion
        step and a noise: (D,) and (D, H, 10).
        """
        count, draws = len(actions), len(timesteps)
        error = self._denoising_error(
            self._clean(actions, commanded).repeat_interleave(draws, dim=0),
            timesteps.repeat(count),
            noise.repeat(count, 1, 1),
            condition.repeat_interleave(draws, dim=0),
        )
        return error.view(count, draws, -1)

    @torch.no_grad()
    def act(
        self,
        observation: Observation,
        generator: torch.Generator,
        prefix: Tensor | None = None,
        steps: int | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Return absolute actions (B, H, 10), rotations orthonormal, gripper in [0, 1].

        `prefix` (B, p, 10) are absolute actions already committed: the chunk starts with exactly these and goes on
        from them. `steps` overrides the configured number of denoising steps. `condition` is the observation as
        encoded before, if it was.
        """
        observation, prefix = observation.to(self.device), None if prefix is None else prefix.to(self.device)
        condition = self.encode(observation) if condition is None else condition
        held = None
        if prefix is not None:
            held = self._clean(prefix, observation.commanded)

        denoise = compiled() if self.compiled and len(condition) == 1 else plain

        def predict_noise(noisy: Tensor, timestep: Tensor) -> Tensor:
            predicted = denoise(self.backbone, noisy, timestep, condition)
            if self.config.prediction == "epsilon":
                return predicted
            return self.diffusion.noise_from_clean(noisy, predicted, timestep)

        chunk = self.diffusion.sample(
            predict_noise,
            (len(condition), self.config.pred_horizon, ACTION_DIM),
            generator,
            steps or self.config.sample_steps,
            self.config.sampler,
            held,
        )
        actions = self._outer_actions(self.action_normalizer.denormalize(chunk), observation.commanded)
        actions[..., 9].clamp_(0, 1)
        if prefix is not None:
            actions[:, : prefix.shape[1]] = prefix
        return actions

    def _denoising_error(self, clean: Tensor, timestep: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        """Return the network's mean squared error (B, H) on clean chunks (B, H, 10) noised to a step (B,)."""
        predicted = self.backbone(self.diffusion.q_sample(clean, timestep, noise), timestep, condition)
        target = noise if self.config.prediction == "epsilon" else clean
        error: Tensor = (predicted - target).square().mean(-1)
        return error

    def _clean(self, actions: Tensor, commanded: Tensor) -> Tensor:
        """Return absolute actions as the network knows them."""
        return self.action_normalizer.normalize(self._inner_actions(actions, commanded))

    def _inner_actions(self, actions: Tensor, commanded: Tensor) -> Tensor:
        return relative_actions(actions, commanded) if self.config.action_frame == "relative" else actions

    def _outer_actions(self, inner: Tensor, commanded: Tensor) -> Tensor:
        return (
            absolute_actions(inner, commanded) if self.config.action_frame == "relative" else orthonormal_actions(inner)
        )
