"""Whether what lies in a run fits the configuration that it is used with; asked before anything is begun with it."""

from data.episode import Episode
from drift_robot.config import Config
from drift_robot.errors import UserError
from drift_robot.lockstep import episode_layout, policy_config
from drift_robot.versions import Versions
from policies.checkpoint import Manifest, load_manifest

OBSERVED = ("object_dim", "cameras", "obs_horizon", "pred_horizon")


def require_fitting_policy(config: Config, manifest: Manifest, shown: str) -> None:
    """Refuse a policy that observes or plans otherwise than configured; `shown` names it. Raises UserError."""
    wanted = policy_config(config)
    for key in OBSERVED:
        has, needs = getattr(manifest.config, key), getattr(wanted, key)
        if has != needs:
            raise UserError(f"{shown} does not fit the configuration: its {key} is {has}, not {needs}.")


def fitting_manifest(config: Config, versions: Versions, version: int) -> Manifest:
    """Return the manifest of a run's version. Raises UserError if it does not fit, PolicyError if it is damaged."""
    manifest = load_manifest(versions.path(version))
    require_fitting_policy(config, manifest, f"version {version} in {versions.folder}")
    return manifest


def require_fitting_episode(config: Config, episode: Episode) -> None:
    """Refuse an episode that does not hold what the configured policy observes. Raises UserError."""
    has, needs = episode.layout, episode_layout(config)
    if has.object_dim != needs.object_dim:
        raise UserError(
            f"{episode.path} does not fit the configuration: it holds {has.object_dim} numbers of tracked objects a "
            f"step, not {needs.object_dim}."
        )
    for name, size in needs.cameras.items():
        if has.cameras.get(name) != size:
            held = "no pictures" if name not in has.cameras else f"pictures of {has.cameras[name]}"
            raise UserError(
                f"{episode.path} does not fit the configuration: it holds {held} of camera '{name}', not {size}."
            )
