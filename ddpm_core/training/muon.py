"""Muon: momentum whose matrices are made orthogonal before they are applied, so that every direction moves equally far.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". It is for the matrices inside a network; the
stem, the head, embeddings, norms and biases stay with AdamW (optimizer.py). A convolution (out, in, k, k) is taken as a matrix
(out, in k k).
"""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ddpm_core import devices

MOMENTUM = 0.95
NEWTON_SCHULZ_STEPS = 5
# The published polynomial: it is steepest at 0, and takes singular values near 1 rather than exactly to 1, in few steps.
A, B, C = 3.4445, -4.7750, 2.0315
# An AdamW step moves a weight by about 0.2 of the learning rate (root mean square), and so does this, with AdamW's own rate
# (Liu et al. 2025, arXiv 2502.16982, section 2.2): an orthogonal matrix's weights measure 1 / sqrt(longer side).
STEP_SIZE = 0.2
# Matrices are made orthogonal in parts of so many rows (output channels). The work grows with the square of the rows: whole
# matrices of 320 rows took a fifth of a training step on two cores. (Distance after 40,000 pictures of 32 px, cpu network: 117
# on Fashion-MNIST, 118 on OpenMoji; of whole matrices 116 and 112, in a tenth more time.)
BLOCK = 64


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions. Weight decay is decoupled, as in AdamW. `lr` may be a 0-d tensor on their device.

    On a card momentum is moved in one pass, if `compiles` (Triton may be used) and Triton works there.
    """

    def __init__(
        self, weights: Iterable[Tensor], lr: float | Tensor, weight_decay: float = 0.0, compiles: bool = True
    ) -> None:
        super().__init__(list(weights), {"lr": lr, "weight_decay": weight_decay})
        device = self.param_groups[0]["params"][0].device
        self.kernel = _kernel(device) if compiles and device.type == "cuda" else None

    @torch.no_grad()
    def step(self, closure: None = None, shorten: Tensor | None = None) -> None:  # type: ignore[override]
        """`shorten`, 0-d: by what the gradients are multiplied first. They are not to be used afterwards."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum"] = torch.zeros_like(weight)
            alike: dict[tuple[int, int], list[int]] = defaultdict(list)  # one matrix product for all of one shape
            for i, weight in enumerate(weights):
                alike[len(weight) // blocks(len(weight)), weight[0].numel()].append(i)
            stacks = self._ahead(weights, alike, shorten)
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            with tensor_cores():
                stacks = orthogonal(stacks, group["lr"], [STEP_SIZE * max(shape) ** 0.5 for shape in alike])
            updates: list[Tensor] = [torch.empty(0)] * len(weights)
            for ((rows, _), chosen), stack in zip(alike.items(), stacks, strict=True):
                parts = stack.split([len(weights[i]) // rows for i in chosen])
                for part, i in zip(parts, chosen, strict=True):
                    updates[i] = _unflat(part, weights[i])
            torch._foreach_sub_(weights, updates)

    def _ahead(
        self, weights: list[Tensor], alike: dict[tuple[int, int], list[int]], shorten: Tensor | None
    ) -> list[Tensor]:
        """Moves the momenta on, and returns where they will be (Nesterov), stacked by shape."""
        momenta = [self.state[weight]["momentum"] for weight in weights]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if self.kernel is None:
            if shorten is not None:
                torch._foreach_mul_(gradients, shorten)
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
            return [
                torch.cat([_flat(ahead[i], weights[i]).reshape(-1, *shape) for i in chosen]).float()
                for shape, chosen in alike.items()
            ]
        if shorten is None:
            shorten = torch.ones((), device=weights[0].device)
        stacks = []
        for (rows, columns), chosen in alike.items():
            counts = [len(weights[i]) // rows for i in chosen]
            stack = weights[0].new_empty(sum(counts), rows, columns)
            for part, i in zip(stack.split(counts), chosen, strict=True):
                self.kernel(_laid_out_as(gradients[i], weights[i]), momenta[i], part, shorten, MOMENTUM)
            stacks.append(stack)
        return stacks


@functools.cache
def _kernel(device: torch.device) -> Callable[[Tensor, Tensor, Tensor, Tensor, float], None] | None:
    """`ahead` of training/momentum_kernel.py on a card that it works on."""
    if not devices.compile_pays(device):
        return None
    try:
        from ddpm_core.training import momentum_kernel

        return momentum_kernel.ahead if momentum_kernel.works(device) else None
    except Exception:  # torch's own operations do the same
        return None


def _laid_out_as(gradient: Tensor, weight: Tensor) -> Tensor:
    """As it is, but for one that lies otherwise in memory than its weight: a kernel goes through both from end to end."""
    steps = zip(weight.shape, gradient.stride(), weight.stride(), strict=True)
    alike = all(one == other for size, one, other in steps if size > 1)
    return gradient if alike else torch.empty_like(weight).copy_(gradient)


@contextlib.contextmanager
def tensor_cores() -> Iterator[None]:
    """Inside, a card multiplies float32 matrices with 10 bits behind the point (TF32), which is more than the iteration asks for:
    its authors run it in bfloat16, with 7."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _flat(update: Tensor, weight: Tensor) -> Tensor:
    """The update of a convolution (out, in, k, k) in the order in which the weight lies in memory: what is done to its rows does not
    depend on the order of its columns, and nothing has to be moved."""
    return update.permute(0, 2, 3, 1) if _channels_last(weight) else update


def _unflat(rows: Tensor, weight: Tensor) -> Tensor:
    """The inverse: `rows`, contiguous, in the shape and the order of `weight`."""
    if not _channels_last(weight):
        return rows.reshape(weight.shape)
    out, into, high, wide = weight.shape
    return rows.reshape(out, high, wide, into).permute(0, 3, 1, 2)


def _channels_last(weight: Tensor) -> bool:
    return weight.ndim == 4 and not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)


def blocks(rows: int) -> int:
    """Into how many parts a matrix of `rows` rows is cut: the fewest equal ones of at most `BLOCK` rows."""
    return next(count for count in range(-(-rows // BLOCK), rows + 1) if rows % count == 0)


def orthogonal(
    stacks: Sequence[Tensor], rate: float | Tensor = 1.0, lengths: Sequence[float] | None = None
) -> list[Tensor]:
    """Stacks of matrices of one shape each, float32 (n, rows, columns) -> of each matrix U V^T of its singular value
    decomposition, nearly, in the same shapes; times `rate`, and times its stack's number of `lengths`, where they are given.

    Five steps of a Newton-Schulz iteration; singular values come out between about 0.7 and 1.2, which serves as well as 1.
    Each step multiplies X from the left by a polynomial in G = X X^T. A convolution's matrix is many times as wide as it is
    high, so only G and the product of the polynomials are carried along, and X itself is multiplied once, at the end; what X
    would be divided by first, its norm, is the root of G's trace, and divides G and that product instead. G has the
    size of the shorter side, whatever the longer one is: all stacks that agree in it go through the iteration together, as the
    few large products that a card wants.
    (Measured, 128 x 1152, one core, dividing X itself: 44 ms for six instead of 131; the difference is 3e-5, with singular values down
    to 1e-6.)
    """
    wide = [stack.mT if stack.shape[1] > stack.shape[2] else stack for stack in stacks]
    alike: dict[int, list[int]] = defaultdict(list)
    for i, x in enumerate(wide):
        alike[x.shape[1]].append(i)
    for chosen in alike.values():
        grams = torch.cat([wide[i] @ wide[i].mT for i in chosen])
        norms = grams.diagonal(dim1=1, dim2=2).sum(1).sqrt_().add_(1e-7)[:, None, None]
        products = _polynomials(grams / norms.square()) * (rate / norms)  # no singular value above 1
        for i, product in zip(chosen, products.split([len(wide[i]) for i in chosen]), strict=True):
            wide[i] = (product if lengths is None else product * lengths[i]) @ wide[i]
    return [x if x.shape == stack.shape else x.mT.contiguous() for x, stack in zip(wide, stacks, strict=True)]


def _polynomials(gram: Tensor) -> Tensor:
    """(n, side, side), each X X^T -> what X is to be multiplied by, from the left."""
    product = polynomial = _polynomial(gram)
    for _ in range(NEWTON_SCHULZ_STEPS - 1):
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram)
        product = polynomial @ product
    return product


def _polynomial(gram: Tensor) -> Tensor:
    """A + B gram + C gram^2"""
    polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
    polynomial.diagonal(dim1=1, dim2=2).add_(A)
    return polynomial
