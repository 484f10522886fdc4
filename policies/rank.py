"""Rank modulation (DRIFT, arXiv 2502.03822): layers whose r leading singular directions are trained.

Below its maximal rank a layer's weight, seen as a matrix W (m, n), is W = U diag(S) V^T + frozen, with U (m, r),
S (r,) and V (n, r) trainable. The forward pass is the plain operation with the merged weight. The backward pass is the
plain one, too, with the weight's gradient G projected on the factors, as G V and G^T U; or, where that is cheaper, it
forms these without G. LoRA lives elsewhere.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from policies import convolution, moments
from policies.allocation import Allocation, Spectrum, is_dense, ranks_by_spectrum
from policies.errors import PolicyError
from policies.moments import Factors

# One flop of the factored gradient costs as much as this many of the dense one: its signals are thinner.
FACTORED_FLOP_COST = 1.5
# In a layer with fewer rows the number of operations decides, not flops, and nothing beats torch's own gradient.
FACTORED_FROM_ROWS = 128

UNSUPPORTED = "rank modulation: convolutions with groups, dilation or odd padding are not supported."

Plain = nn.Linear | nn.Conv1d | nn.ConvTranspose1d | nn.Conv2d
PlainLayer = TypeVar("PlainLayer", nn.Linear, nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d)


class RankModulated(nn.Module):
    """A layer with a trainable rank; at or above `max_rank` it is the plain layer and owns a plain `weight`.

    Below, it owns `u`, `s`, `v` and the constant `frozen`, and `stacked` (m + r, n) caches until a factor changes what
    signals meet: the merged weight and below it V^T, so that one operation gives both products.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    u: nn.Parameter | None
    s: nn.Parameter | None
    v: nn.Parameter | None
    frozen: Tensor | None
    stacked: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.shape = weight.shape
        self.register_parameter("weight", cast(nn.Parameter, weight))
        self.register_parameter("bias", cast("nn.Parameter | None", bias))
        for name in ("u", "s", "v"):
            self.register_parameter(name, None)
        self.register_buffer("frozen", None)
        self.register_buffer("stacked", None, persistent=False)
        self._stacked_from: tuple[int, ...] | None = None

    @property
    def max_rank(self) -> int:
        """The rank from which on the layer is dense: min(m, n)."""
        return min(self.shape[0], self.shape[1:].numel())

    @property
    def rank(self) -> int:
        """The trainable rank."""
        return self.max_rank if self.s is None else len(self.s)

    def factors(self) -> Factors | None:
        """Return the trainable factors, or None at full rank."""
        if self.u is None or self.s is None or self.v is None:
            return None
        return Factors(self.u, self.s, self.v)

    def merged_weight(self) -> Tensor:
        """Return the weight in use, in the plain layer's shape, without gradient; rebuilt only if a factor changed."""
        factors = self.factors()
        if factors is None or self.frozen is None or self.stacked is None:
            return cast(nn.Parameter, self.weight).detach()
        rows = self.shape[0]
        versions = (factors.u._version, factors.s._version, factors.v._version, self.frozen._version)
        if versions != self._stacked_from:
            with torch.no_grad():
                torch.addmm(self.frozen, factors.u * factors.s, factors.v.T, out=self.stacked[:rows])
                self.stacked[rows:] = factors.v.T
            self._stacked_from = versions
        return self.stacked[:rows].view(self.shape)

    def saves(self, rank: int) -> bool:
        """Whether factors of a rank save anything; if not, they cost more and can do less."""
        return not is_dense(self.shape[0], self.shape[1:].numel(), rank)

    def spectrum(self) -> Spectrum:
        """Return the spectrum of the present weight."""
        matrix = self.merged_weight().flatten(1).double()
        smaller = matrix if len(matrix) <= matrix.shape[1] else matrix.T
        energies = torch.linalg.eigvalsh(smaller @ smaller.T).flip(0).clamp_min(0.0)
        return Spectrum(self.shape[0], matrix.shape[1], energies.cpu())

    @torch.no_grad()
    def split(self, rank: int) -> None:
        """Split the present weight anew at a trainable rank, dense from `max_rank` on; the output stays the same."""
        weight = self.merged_weight()
        device, dtype = weight.device, weight.dtype
        if rank >= self.max_rank:
            if self.weight is None:
                self.weight = nn.Parameter(weight.clone())
                self.u = self.s = self.v = self.frozen = self.stacked = None
            return
        matrix = weight.reshape(self.shape[0], -1).double()
        leading = leading_factors(matrix, rank)
        u, s, v = (part.to(dtype) for part in (leading.u, leading.s, leading.v))
        self.weight = None
        self.u, self.s, self.v = (nn.Parameter(part.to(device).contiguous()) for part in (u, s, v))
        self.frozen = (matrix - (u * s).double() @ v.T.double()).to(dtype)
        self.stacked = self.frozen.new_empty(len(u) + rank, len(v))
        self._stacked_from = None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer as the plain one would."""
        factors = self.factors()
        if factors is None:
            return self.operate(x, cast(nn.Parameter, self.weight), self.bias)
        weight = self.merged_weight()
        if not torch.is_grad_enabled():
            return self.operate(x, weight, self.bias)
        if self.cheaper_factored(self.positions(x)):
            y: Tensor = _Factored.apply(  # type: ignore[no-untyped-call]
                x, factors.u, factors.s, factors.v, self.bias, self.stacked, self
            )
            return y
        merged = _Merged.apply(factors.u, factors.s, factors.v, weight)  # type: ignore[no-untyped-call]
        return self.operate(x, merged, self.bias)

    def cheaper_factored(self, positions: int) -> bool:
        """Whether forming the gradient from U^T g and V^T x costs less than forming the weight's and projecting it.

        `positions` is the number P of columns of the signals, batch times length: 4 r P (m + n) flops against
        2 m n P + 4 m n r.
        """
        m, n, r = self.shape[0], self.shape[1:].numel(), self.rank
        fewer = FACTORED_FLOP_COST * 4 * r * positions * (m + n) < 2 * m * n * positions + 4 * m * n * r
        return fewer and m >= FACTORED_FROM_ROWS

    def positions(self, x: Tensor) -> int:
        """Return how many times the weight is applied to an input: batch times length."""
        raise NotImplementedError

    def operate(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the plain operation with a weight."""
        raise NotImplementedError

    def factored(self, x: Tensor, bias: Tensor | None, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return the plain operation with the merged weight, and what of it the factors' gradients need later."""
        raise NotImplementedError

    def factored_gradients(
        self, x: Tensor, g: Tensor, kept: Tensor, stacked: Tensor, u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient of the input, and G V (m, r) and G^T U (n, r) of the gradient G (m, n) of the weight.

        G is not formed. `g` is the gradient of the output for an input x, `kept` what `factored` kept.
        """
        raise NotImplementedError

    def bias_gradient(self, g: Tensor) -> Tensor:
        """Return the gradient of the bias."""
        raise NotImplementedError

    def plain(self) -> nn.Module:
        """Return the plain layer; called at full rank, it gets this layer's own parameters."""
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._stacked_from = None  # version counters do not survive copying


class ModulatedLinear(RankModulated):
    """A linear layer; its matrix is its weight (out, in)."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__(plain.weight, plain.bias)

    def operate(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x W^T + b for x (..., in)."""
        return F.linear(x, weight, bias)

    def factored(self, x: Tensor, bias: Tensor | None, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return x W^T + b, and keep x V."""
        y, thin = torch.split(F.linear(x, stacked), [self.shape[0], self.rank], -1)
        return y if bias is None else y + bias, thin

    def factored_gradients(
        self, x: Tensor, g: Tensor, kept: Tensor, stacked: Tensor, u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return g W, and g^T (x V) and x^T (g U) with a row per position."""
        rows = g.flatten(0, -2)
        return g @ stacked[: self.shape[0]], rows.T @ kept.flatten(0, -2), x.flatten(0, -2).T @ (rows @ u)

    def positions(self, x: Tensor) -> int:
        """Return the size of all dimensions but the last."""
        return x.shape[:-1].numel()

    def bias_gradient(self, g: Tensor) -> Tensor:
        """Return the sum of g over all positions."""
        return g.flatten(0, -2).sum(0)

    def plain(self) -> nn.Module:
        """Return a Linear."""
        outputs, inputs = self.shape
        return _with_parameters(nn.Linear(inputs, outputs, bias=self.bias is not None, device="meta"), self)


class _Windowed(RankModulated):
    """What both convolutions share: the windows of one signal meet the other signal position by position."""

    def __init__(self, plain: nn.Conv1d | nn.ConvTranspose1d) -> None:
        super().__init__(plain.weight, plain.bias)
        self.stride, self.padding = plain.stride[0], int(plain.padding[0])

    def bias_gradient(self, g: Tensor) -> Tensor:
        """Return the sum of g over batch and length."""
        return g.sum((0, 2))

    def gathered(self, windowed: Tensor, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return W w (B, m, L') and V^T w (r, L' * B) of the windows w of a signal (B, c, L)."""
        both = convolution.gathered(windowed, stacked.view(-1, *self.shape[1:]), self.stride, self.padding)
        y, thin = torch.split(both, [self.shape[0], self.rank], 1)
        return y, convolution.positions(thin)

    def spread(self, rows: Tensor, stacked: Tensor, length: int) -> Tensor:
        """Return W^T times a signal (B, m, L'), laid over each other: (B, c, length)."""
        return convolution.spread(rows, stacked[: self.shape[0]].view(self.shape), self.stride, self.padding, length)

    def along(self, rows: Tensor, windowed: Tensor, thin: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return p (V^T w)^T and w (U^T p)^T of a signal p (B, m, L') and the windows w of one (B, c, L).

        `thin` is V^T w.
        """
        by_position = convolution.positions(rows)
        meet = convolution.windows_meet(windowed, u.T @ by_position, self.shape[2], self.stride, self.padding)
        return by_position @ thin.T, meet


class ModulatedConv1d(_Windowed):
    """A 1-D convolution; its matrix is (out, in * kernel)."""

    def operate(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of x (B, in, L)."""
        return convolution.conv1d(x, weight, bias, self.stride, self.padding)

    def factored(self, x: Tensor, bias: Tensor | None, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return the convolution of x (B, in, L), and keep V^T times its windows."""
        y, thin = self.gathered(x, stacked)
        return convolution.plus(y, bias), thin

    def factored_gradients(
        self, x: Tensor, g: Tensor, kept: Tensor, stacked: Tensor, u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the transposed convolution of g (B, out, L'), g along V, and the windows of x along U."""
        return self.spread(g, stacked, x.shape[2]), *self.along(g, x, kept, u)

    def positions(self, x: Tensor) -> int:
        """Return batch times length of the output."""
        return x.shape[0] * ((x.shape[2] + 2 * self.padding - self.shape[2]) // self.stride + 1)

    def plain(self) -> nn.Module:
        """Return a Conv1d."""
        outputs, inputs, kernel = self.shape
        has_bias = self.bias is not None
        plain = convolution.Conv1d(inputs, outputs, kernel, self.stride, self.padding, bias=has_bias, device="meta")
        return _with_parameters(plain, self)


class ModulatedConvTranspose1d(_Windowed):
    """A transposed 1-D convolution; its matrix is (in, out * kernel): a convolution with input and output swapped."""

    def operate(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the transposed convolution of x (B, in, L)."""
        return convolution.conv_transpose1d(x, weight, bias, self.stride, self.padding)

    def factored(self, x: Tensor, bias: Tensor | None, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return the transposed convolution of x (B, in, L), and keep nothing."""
        length = self.stride * (x.shape[2] - 1) + self.shape[2] - 2 * self.padding
        return convolution.plus(self.spread(x, stacked, length), bias), x.new_empty(0)

    def factored_gradients(
        self, x: Tensor, g: Tensor, kept: Tensor, stacked: Tensor, u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the convolution of g (B, out, L'), x along V, and the windows of g along U."""
        grad_x, thin = self.gathered(g, stacked)
        return grad_x, *self.along(x, g, thin, u)

    def positions(self, x: Tensor) -> int:
        """Return batch times length of the input."""
        return x.shape[0] * x.shape[2]

    def plain(self) -> nn.Module:
        """Return a ConvTranspose1d."""
        inputs, outputs, kernel = self.shape
        has_bias = self.bias is not None
        plain = convolution.ConvTranspose1d(
            inputs, outputs, kernel, self.stride, self.padding, bias=has_bias, device="meta"
        )
        return _with_parameters(plain, self)


class ModulatedConv2d(RankModulated):
    """A 2-D convolution, of a picture encoder; its matrix is (out, in * kernel)."""

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__(plain.weight, plain.bias)
        self.stride = cast("tuple[int, int]", plain.stride)
        self.padding = cast("tuple[int, int]", plain.padding)

    def cheaper_factored(self, positions: int) -> bool:
        """Return False: pictures have no factored form."""
        return False

    def positions(self, x: Tensor) -> int:
        """Return batch times the size of the output."""
        sizes = zip(x.shape[2:], self.shape[2:], self.stride, self.padding, strict=True)
        return x.shape[0] * math.prod((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in sizes)

    def operate(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of x (B, in, h, w)."""
        return F.conv2d(x, weight, bias, self.stride, self.padding)

    def plain(self) -> nn.Module:
        """Return a Conv2d."""
        outputs, inputs, height, width = self.shape
        has_bias = self.bias is not None
        plain = nn.Conv2d(inputs, outputs, (height, width), self.stride, self.padding, bias=has_bias, device="meta")
        return _with_parameters(plain, self)


class _Merged(torch.autograd.Function):
    """The merged weight as a function of the factors: a gradient G of the weight becomes theirs."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, s: Tensor, v: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(u, s, v)
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        u, s, v = ctx.saved_tensors
        gradient = g.flatten(1)
        return *_of_factors(u, s, gradient @ v, gradient.T @ u), None


class _Factored(torch.autograd.Function):
    """One operation with the merged weight whose backward pass ends in the factors without forming the weight's."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        u: Tensor,
        s: Tensor,
        v: Tensor,
        bias: Tensor | None,
        stacked: Tensor,
        layer: RankModulated,
    ) -> Tensor:
        y, kept = layer.factored(x, bias, stacked)
        ctx.save_for_backward(x, u, s, stacked, kept)
        ctx.layer = layer
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, u, s, stacked, kept = ctx.saved_tensors
        layer: RankModulated = ctx.layer
        grad_x, along_v, along_u = layer.factored_gradients(x, g, kept, stacked, u)
        grad_bias = layer.bias_gradient(g) if ctx.needs_input_grad[4] else None
        return grad_x, *_of_factors(u, s, along_v, along_u), grad_bias, None, None


def _of_factors(u: Tensor, s: Tensor, along_v: Tensor, along_u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of U, S and V from G V (m, r) and G^T U (n, r)."""
    return along_v * s, (u * along_v).sum(0), along_u * s


def leading_factors(matrix: Tensor, rank: int) -> Factors:
    """Return the leading singular triplets of a float64 matrix (m, n), of rank <= min(m, n).

    By the eigenvectors of the smaller Gram matrix, several times faster than an SVD. Squaring costs half of the digits,
    which float64 has to spare; the QR decomposition makes the other side orthonormal whatever the singular values are.
    """
    rows, columns = matrix.shape
    if rows > columns:
        mirrored = leading_factors(matrix.T, rank)
        return Factors(mirrored.v, mirrored.s, mirrored.u)
    u = torch.linalg.eigh(matrix @ matrix.T).eigenvectors[:, -rank:].flip(1)
    v, r = torch.linalg.qr(matrix.T @ u)
    lengths = r.diagonal()
    return Factors(u, lengths.abs(), v * torch.where(lengths < 0, -1.0, 1.0).to(v))


def modulate(module: nn.Module, exclude: Iterable[str] = ()) -> list[str]:
    """Replace every Conv1d, ConvTranspose1d, Conv2d and Linear below a module by its modulated form, at full rank.

    Frozen layers stay as they are. Parameters stay the same objects under the same names, so an optimiser keeps
    working. Returns the names of the layers replaced. `exclude` names layers to leave alone; a name that is no such
    layer is a PolicyError.
    """
    excluded = set(exclude)
    forms = {name: _modulated_form(child) for name, child in module.named_modules()}
    found = {name: form for name, form in forms.items() if form is not None}
    if unknown := excluded - found.keys():
        raise PolicyError(f"rank modulation: no layer is called {sorted(unknown)}; layers are {sorted(found)}.")
    chosen = [name for name in found if name not in excluded]
    for name in chosen:
        module.set_submodule(name, found[name])
    return chosen


def demodulate(module: nn.Module) -> None:
    """Replace every modulated layer below a module by the plain one: the inverse of `modulate`, at full rank."""
    for name, layer in list(modulated_layers(module)):
        layer.split(layer.max_rank)
        module.set_submodule(name, layer.plain())


def full_rank(module: nn.Module) -> int:
    """Return the rank from which on every modulated layer below a module is dense; 1 if there is none."""
    return max((layer.max_rank for _, layer in modulated_layers(module)), default=1)


def modulated_layers(module: nn.Module) -> Iterator[tuple[str, RankModulated]]:
    """Yield the modulated layers below a module with their names."""
    for name, child in module.named_modules():
        if isinstance(child, RankModulated):
            yield name, child


def set_rank(
    module: nn.Module, optimizer: torch.optim.Optimizer | None, rank: int, allocation: Allocation = "uniform"
) -> None:
    """Split every modulated layer anew at a trainable rank, each at its own by its spectrum if so allocated.

    Layers whose factors would save nothing are dense. See `set_ranks`. Raises PolicyError for a rank below 1.
    """
    if rank < 1:
        raise PolicyError(f"rank modulation: the trainable rank must be at least 1, not {rank}.")
    layers = dict(modulated_layers(module))
    if allocation == "spectrum" and layers:
        ranks = ranks_by_spectrum({name: layer.spectrum() for name, layer in layers.items()}, rank)
    else:
        ranks = dict.fromkeys(layers, rank)
    set_ranks(
        module, optimizer, {n: ranks[n] if layer.saves(ranks[n]) else layer.max_rank for n, layer in layers.items()}
    )


def set_ranks(module: nn.Module, optimizer: torch.optim.Optimizer | None, ranks: Mapping[str, int]) -> None:
    """Split every modulated layer anew at its trainable rank, and carry the optimiser's moments to the new basis.

    Layers whose own maximum is no larger are dense. The outputs stay the same. With an optimiser, the parameters that
    it holds are exchanged in their groups.
    """
    for name, layer in modulated_layers(module):
        rank = ranks[name]
        if layer.rank == layer.max_rank <= rank:
            continue
        before = [p for p in (layer.weight, layer.u, layer.s, layer.v) if p is not None]
        old = layer.factors()
        layer.split(rank)
        if optimizer is not None:
            after = [p for p in (layer.weight, layer.u, layer.s, layer.v) if p is not None]
            _carry(optimizer, before, after, old, layer.factors())


@torch.no_grad()
def orthonormalise(module: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
    """Make the factors of every modulated layer orthonormal again, by QR; its weight stays the same.

    With U = Q_u R_u, V = Q_v R_v and the small SVD R_u diag(S) R_v^T = A diag(S') B^T, the factors become Q_u A, S' and
    Q_v B. The optimiser's moments are carried to them.
    """
    for _, layer in modulated_layers(module):
        factors = layer.factors()
        if factors is None:
            continue
        (q_u, r_u), (q_v, r_v) = torch.linalg.qr(factors.u), torch.linalg.qr(factors.v)
        core = torch.linalg.svd((r_u * factors.s @ r_v.T).double())  # in float32 it need not converge
        a, s, bh = (part.to(factors.s) for part in core)
        old = Factors(factors.u.clone(), factors.s.clone(), factors.v.clone())
        new = Factors(q_u @ a, s, q_v @ bh.T)
        parameters = [cast(nn.Parameter, p) for p in (factors.u, factors.s, factors.v)]
        for parameter, value in zip(parameters, (new.u, new.s, new.v), strict=True):
            parameter.copy_(value)
        if optimizer is not None:
            along_u, along_v = (torch.linalg.solve_triangular(r, b, upper=True) for r, b in ((r_u, a), (r_v, bh.T)))
            _carry(optimizer, parameters, parameters, old, new, moments.Turn(old, new, along_u, along_v))


class Merging(Protocol):
    """A layer in place of a plain one, that knows the plain one's weight and bias."""

    @property
    def bias(self) -> Tensor | None:
        """The bias."""
        ...

    def merged_weight(self) -> Tensor:
        """Return the weight with the same function, in the plain layer's shape, without gradient."""
        ...


def merged_parameters(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter, without gradient, under its plain name: layers with factors give their merged weight."""
    layers = _merging_layers(module)
    inside = _inside(layers)
    merged = {name: p.detach() for name, p in module.named_parameters() if not name.startswith(inside)}
    for name, layer in layers.items():
        merged[f"{name}.weight"] = layer.merged_weight()
        if layer.bias is not None:
            merged[f"{name}.bias"] = layer.bias.detach()
    return merged


def merged_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of the plain network with the same function: merged parameters and the buffers."""
    inside = _inside(_merging_layers(module))
    state = {name: value.detach() for name, value in module.state_dict().items() if not name.startswith(inside)}
    return state | merged_parameters(module)


def _merging_layers(module: nn.Module) -> dict[str, Merging]:
    return {name: cast(Merging, child) for name, child in module.named_modules() if hasattr(child, "merged_weight")}


def _inside(layers: Iterable[str]) -> tuple[str, ...]:
    """Return how the names of all that belongs to these layers begin."""
    return tuple(f"{name}." for name in layers)


def _with_parameters(plain: PlainLayer, layer: RankModulated) -> PlainLayer:
    """Give a plain layer the weight and bias of a modulated one at full rank."""
    plain.weight = cast(nn.Parameter, layer.weight)
    plain.bias = cast(nn.Parameter, layer.bias)
    return plain


def _modulated_form(module: nn.Module) -> RankModulated | None:
    if (
        not isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d | nn.Conv2d)
        or not module.weight.requires_grad
    ):
        return None
    if isinstance(module, nn.Linear):
        return ModulatedLinear(module)
    if isinstance(module, nn.Conv2d):
        if module.groups != 1 or module.dilation != (1, 1) or module.padding_mode != "zeros":
            raise PolicyError(UNSUPPORTED)
        return ModulatedConv2d(module)
    if module.groups != 1 or module.dilation != (1,) or module.output_padding != (0,) or module.padding_mode != "zeros":
        raise PolicyError(UNSUPPORTED)
    return ModulatedConv1d(module) if isinstance(module, nn.Conv1d) else ModulatedConvTranspose1d(module)


def _carry(
    optimizer: torch.optim.Optimizer,
    before: list[nn.Parameter],
    after: list[nn.Parameter],
    old: Factors | None,
    new: Factors | None,
    turn: moments.Turn | None = None,
) -> None:
    """Exchange a layer's parameters in the optimiser and give the new ones the old ones' moments.

    The turn from the old factors to the new ones, if there are both, can be given where it is known.
    """
    for group in optimizer.param_groups:
        at = next((i for i, p in enumerate(group["params"]) if p is before[0]), None)
        if at is not None:
            group["params"][at : at + len(before)] = after
    states = [optimizer.state.pop(parameter, {}) for parameter in before]
    if not all("exp_avg" in state for state in states):
        return
    if turn is None and old is not None and new is not None:
        turn = moments.turn(old, new)
    means = _convert("exp_avg", states, old, new, turn)
    squares = _convert("exp_avg_sq", states, old, new, turn)
    for parameter, mean, square in zip(after, means, squares, strict=True):
        optimizer.state[parameter] = {
            "step": states[0]["step"].clone(),
            "exp_avg": mean.reshape(parameter.shape).contiguous(),
            "exp_avg_sq": square.reshape(parameter.shape).contiguous(),
        }


@torch.no_grad()
def _convert(
    key: str, states: list[dict[str, Tensor]], old: Factors | None, new: Factors | None, turn: moments.Turn | None
) -> list[Tensor]:
    """Return the moments called `key` of the new parameters from the states of the old ones."""
    is_mean = key == "exp_avg"
    if old is None and new is not None:
        moment = states[0][key].flatten(1)
        to_factors = moments.mean_to_factors if is_mean else moments.square_to_factors
        converted = to_factors(moment, new)
    elif turn is not None:
        between = moments.mean_between_factors if is_mean else moments.square_between_factors
        converted = between(Factors(*(state[key] for state in states)), turn)
    elif old is not None:
        to_weight = moments.mean_to_weight if is_mean else moments.square_to_weight
        return [to_weight(Factors(*(state[key] for state in states)), old)]
    else:
        return [states[0][key]]
    return [converted.u, converted.s, converted.v]
