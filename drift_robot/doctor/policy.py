"""Whether the policy can think fast enough: one chunk of a policy of the configured size, with weights at random."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from drift_robot.compute import chosen_device
from drift_robot.config import Config
from drift_robot.doctor.findings import Check, Finding, note, ok, problem, warning
from drift_robot.errors import UserError
from drift_robot.lockstep import policy_config
from policies.errors import PolicyError
from policies.frames import ACTION_DIM
from policies.policy import DiffusionPolicy, PolicyConfig, resting_observation

TRIES = 5
LONG_S = 10.0


def check_policy(config: Config) -> Check:
    """Look at the GPU, and time one chunk as a session computes it."""
    yield "looking for a GPU"
    yield _gpu()
    try:
        device = chosen_device(config.compute)
    except UserError as error:
        yield problem("policy speed", str(error))
        return
    settings = policy_config(config)
    yield "timing one chunk of the policy"
    torch.set_num_threads(1)
    try:
        taken_s = chunk_s(settings, config.inference_steps, device, config.compile_policy)
    except PolicyError as error:
        yield problem("policy speed", str(error))
        return
    except RuntimeError as error:  # what torch raises for a driver or a card that it cannot use
        cause = str(error).splitlines()[0]
        yield problem("policy speed", f"The policy cannot run on {device} ({cause}).", "Set compute to cpu.")
        return
    yield judge_chunk(taken_s, config.policy_period_s, config.inference_steps, settings.pred_horizon, device)


def chunk_s(config: PolicyConfig, committed: int, device: torch.device, compiled: bool = False) -> float:
    """Return the median time of a chunk that goes on from some committed actions, in seconds. Raises PolicyError."""
    policy = DiffusionPolicy(config).eval().requires_grad_(False).to(device)
    policy.compiled = compiled
    observation = resting_observation(config)
    action = torch.cat([observation.commanded, torch.ones(1, 1)], dim=1)
    prefix = action.expand(1, committed, ACTION_DIM) if committed else None
    generator = torch.Generator().manual_seed(0)

    def once() -> None:
        policy.act(observation, generator, prefix).cpu()

    return _median_s(once)


def _median_s(work: Callable[[], None]) -> float:
    """Return the median time of some runs after a first one, fewer if they are long."""
    taken_s: list[float] = []
    began_s = time.monotonic()
    while len(taken_s) <= TRIES and time.monotonic() - began_s < LONG_S:
        start_s = time.perf_counter()
        work()
        taken_s.append(time.perf_counter() - start_s)
    later = sorted(taken_s[1:] or taken_s)
    return later[len(later) // 2]


def judge_chunk(
    taken_s: float, period_s: float, inference_steps: int, pred_horizon: int, device: torch.device
) -> Finding:
    """Judge the time of a chunk: the arm goes on without a pause if it takes no more than the inference steps."""
    budget_s = period_s * max(inference_steps, 1)
    found = f"one chunk takes {1e3 * taken_s:.0f} ms of {1e3 * budget_s:.0f} ms on {device}"
    advice = (
        "Set compile_policy to true, raise inference_steps or policy_period_s, or make the policy smaller (unet_dims, "
        "sample_steps, camera sizes)."
    )
    if taken_s >= period_s * pred_horizon:
        return problem("policy speed", f"{found}: every chunk is over before it is there.", advice)
    if taken_s > budget_s:
        return warning("policy speed", f"{found}, so the arm waits at every chunk.", advice)
    return ok("policy speed", found)


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return judge_missing_gpu(Path("/dev/nvidia0").exists(), torch.__version__)
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    return ok("GPU", f"{torch.cuda.get_device_name()}, {free_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB free")


def judge_missing_gpu(card: bool, torch_version: str) -> Finding:
    """Judge that torch sees no GPU; `card` tells whether the system has one."""
    if card:
        return warning(
            "GPU",
            f"There is one, but torch {torch_version} cannot use it.",
            "Install a build of torch for CUDA, and a driver that is new enough for it.",
        )
    return note("GPU", "none; the policy acts and learns on the CPU")
