"""Actions (..., 10) seen from the base or from the commanded pose; rotations as six numbers and as matrices.

An action is position 3 (m), 6-D rotation 6 (the first two columns of the matrix, Zhou et al., 2019) and gripper
opening 1. A relative action is the position difference in base axes and the rotation R_action R_commanded^T.
"""

import torch
from torch import Tensor

ACTION_DIM = 10
POSE_DIM = 9


def rotation_from_six(six: Tensor) -> Tensor:
    """Return rotation matrices (..., 3, 3) of (..., 6) by Gram-Schmidt."""
    x = torch.nn.functional.normalize(six[..., :3], dim=-1, eps=1e-9)
    y = six[..., 3:6]
    y = torch.nn.functional.normalize(y - x * (x * y).sum(-1, keepdim=True), dim=-1, eps=1e-9)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def six_from_rotation(rotation: Tensor) -> Tensor:
    """Return the first two columns (..., 6) of rotation matrices (..., 3, 3)."""
    return torch.cat([rotation[..., 0], rotation[..., 1]], dim=-1)


def relative_actions(actions: Tensor, commanded: Tensor) -> Tensor:
    """Return base-frame actions (B, H, 10) relative to the commanded poses (B, 9)."""
    position = actions[..., :3] - commanded[:, None, :3]
    to_commanded = rotation_from_six(commanded[:, None, 3:9]).transpose(-1, -2)
    six = six_from_rotation(rotation_from_six(actions[..., 3:9]) @ to_commanded)
    return torch.cat([position, six, actions[..., 9:]], dim=-1)


def absolute_actions(relative: Tensor, commanded: Tensor) -> Tensor:
    """Return the base-frame actions (B, H, 10) of relative ones; their rotations are orthonormal."""
    position = relative[..., :3] + commanded[:, None, :3]
    rotation = rotation_from_six(relative[..., 3:9]) @ rotation_from_six(commanded[:, None, 3:9])
    return torch.cat([position, six_from_rotation(rotation), relative[..., 9:]], dim=-1)


def orthonormal_actions(actions: Tensor) -> Tensor:
    """Return actions (..., 10) with their rotations made orthonormal."""
    six = six_from_rotation(rotation_from_six(actions[..., 3:9]))
    return torch.cat([actions[..., :3], six, actions[..., 9:]], dim=-1)
