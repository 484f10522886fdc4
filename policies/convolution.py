"""1-D convolutions, forward and backward, each part as matrix products where these beat the convolution library.

A convolution with a weight (out, in, k) and a transposed one with a weight (in, out, k) mirror each other: seen as a
matrix W (m, n), one is W times the windows of its input, the other W^T times its input, the windows laid over each
other. The layers have torch's names, parameters and results.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812
from torch.nn.grad import conv1d_input

from policies.processor import about_processor


def library_is_faster(capability: str, vendor: str) -> bool:
    """Whether the convolution library has faster kernels than the library of matrix products on a processor.

    It has with AVX-512, which the other uses on Intel's processors alone. `capability` is torch's word for the
    instructions in use.
    """
    return "AVX512" in capability and vendor != "GenuineIntel"


# From this many rows of the matrix on, on a CPU, measured on three processors; see docs/speed.md. What decides is fixed
# for a machine, so that a run gives the same numbers again.
LIBRARY_IS_FASTER = library_is_faster(torch.backends.cpu.get_cpu_capability(), about_processor("vendor_id"))
PRODUCTS_FROM_ROWS, PRODUCT_GRADIENTS_FROM_ROWS = (1 << 20, 1024) if LIBRARY_IS_FASTER else (512, 128)


def windows(signal: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Return what a kernel sees of a signal (B, c, L) at each of its P = L' * B positions: (c * kernel, P)."""
    by_step = F.pad(signal.permute(1, 2, 0).contiguous(), (0, 0, padding, padding))
    return by_step.unfold(1, kernel, stride).permute(0, 3, 1, 2).reshape(signal.shape[1] * kernel, -1)


def positions(signal: Tensor) -> Tensor:
    """Return a signal (B, c, L) with a column for each position, step by step: (c, L * B)."""
    return signal.permute(1, 2, 0).flatten(1)


def gathered(signal: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return the convolution (B, m, L') of a signal (B, c, L) with a weight (m, c, k)."""
    if not _pays(signal, weight, PRODUCTS_FROM_ROWS):
        return F.conv1d(signal, weight, None, stride, padding)
    seen = weight.flatten(1) @ windows(signal, weight.shape[2], stride, padding)
    return seen.view(weight.shape[0], -1, signal.shape[0]).permute(2, 0, 1).contiguous()


def spread(signal: Tensor, weight: Tensor, stride: int, padding: int, length: int) -> Tensor:
    """Return the transposed convolution (B, c, length) of a signal (B, m, L') with a weight (m, c, k)."""
    batch, _, steps = signal.shape
    _, channels, kernel = weight.shape
    if not _pays(signal, weight, PRODUCTS_FROM_ROWS):
        laid: Tensor = conv1d_input(  # type: ignore[no-untyped-call]
            (batch, channels, length), weight, signal, stride, padding
        )
        return laid
    parts = (weight.flatten(1).T @ positions(signal)).view(channels, kernel, steps, batch)
    laid = parts.new_zeros(channels, length + 2 * padding, batch)
    for tap in range(kernel):
        laid[:, tap : tap + stride * steps : stride] += parts[:, tap]
    return laid[:, padding : padding + length].permute(2, 0, 1).contiguous()


def weight_gradient(rows: Tensor, windowed: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return the gradient of a weight (m, c, k): a signal (B, m, L') by position times the windows of one (B, c, L).

    Of the weight itself only its shape counts.
    """
    if _pays(rows, weight, PRODUCT_GRADIENTS_FROM_ROWS):
        gradient = positions(rows) @ windows(windowed, weight.shape[2], stride, padding).T
        return gradient.view(weight.shape)
    only_the_weights = [False, True, False]
    of_weight: Tensor = torch.ops.aten.convolution_backward(
        rows, windowed, weight, None, [stride], [padding], [1], False, [0], 1, only_the_weights
    )[1]
    return of_weight


def plus(signal: Tensor, bias: Tensor | None) -> Tensor:
    """Return a signal (B, c, L) with a bias (c,) if there is one."""
    return signal if bias is None else signal + bias[:, None]


def windows_meet(windowed: Tensor, thin: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Return the windows of a signal (B, c, L) times the transpose of a thin one (r, L' * B) by position: (c * k, r).

    Instead of unfolding the wide signal, the thin one is laid where each tap of the kernel finds it, which pays unless
    strides leave most of its places empty.
    """
    if stride > 1:
        return windows(windowed, kernel, stride, padding) @ thin.T
    batch, channels, length = windowed.shape
    by_step = thin.view(len(thin), -1, batch)
    laid = thin.new_zeros(kernel, len(thin), length + 2 * padding, batch)
    for tap in range(kernel):
        laid[tap, :, tap : tap + by_step.shape[1]] = by_step
    by_tap = laid[:, :, padding : padding + length].reshape(kernel * len(thin), -1)
    return (positions(windowed) @ by_tap.T).view(channels * kernel, -1)


def _pays(signal: Tensor, weight: Tensor, from_rows: int) -> bool:
    return signal.device.type == "cpu" and weight.shape[0] >= from_rows


class _Gather(torch.autograd.Function):
    """`gathered`, with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sizes = stride, padding
        return gathered(x, weight, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.sizes
        grad_x = spread(g, weight, stride, padding, x.shape[2]) if ctx.needs_input_grad[0] else None
        grad_weight = weight_gradient(g, x, weight, stride, padding) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, None, None


class _Spread(torch.autograd.Function):
    """`spread` to its natural length, with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sizes = stride, padding
        return spread(x, weight, stride, padding, stride * (x.shape[2] - 1) + weight.shape[2] - 2 * padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.sizes
        grad_x = gathered(g, weight, stride, padding) if ctx.needs_input_grad[0] else None
        grad_weight = weight_gradient(x, g, weight, stride, padding) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, None, None


def conv1d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Return torch's `conv1d` of x (B, in, L), whichever way is faster."""
    if not _pays(x, weight, PRODUCT_GRADIENTS_FROM_ROWS):
        return F.conv1d(x, weight, bias, stride, padding)
    y: Tensor = _Gather.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
    return plus(y, bias)


def conv_transpose1d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Return torch's `conv_transpose1d` of x (B, in, L), whichever way is faster."""
    if not _pays(x, weight, PRODUCT_GRADIENTS_FROM_ROWS):
        return F.conv_transpose1d(x, weight, bias, stride, padding)
    y: Tensor = _Spread.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
    return plus(y, bias)


class Conv1d(nn.Conv1d):
    """A convolution without groups or dilation."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out, L') for x (B, in, L)."""
        return conv1d(x, self.weight, self.bias, self.stride[0], int(self.padding[0]))


class ConvTranspose1d(nn.ConvTranspose1d):
    """A transposed convolution without groups, dilation or output padding."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # no output size is asked for
        """Return (B, out, L') for x (B, in, L)."""
        return conv_transpose1d(x, self.weight, self.bias, self.stride[0], int(self.padding[0]))
