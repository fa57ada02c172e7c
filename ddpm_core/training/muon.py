"""Muon: momentum whose matrices are made orthogonal before they are applied, so that every direction moves equally far.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". It is for the matrices inside a network; the
stem, the head, embeddings, norms and biases stay with AdamW (optimizer.py). A convolution (out, in, k, k) is taken as a matrix
(out, in k k).
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

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
    """For weights of two or more dimensions. Weight decay is decoupled, as in AdamW."""

    def __init__(self, weights: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(list(weights), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum"] = torch.zeros_like(weight)
            momenta = [self.state[weight]["momentum"] for weight in weights]
            gradients = [weight.grad for weight in weights]
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov: where the momentum will be
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])

            alike: dict[tuple[int, int], list[int]] = defaultdict(list)  # one matrix product for all of one shape
            for i, weight in enumerate(weights):
                alike[len(weight) // blocks(len(weight)), weight[0].numel()].append(i)
            for (rows, columns), chosen in alike.items():
                updates = orthogonal(torch.cat([ahead[i].reshape(-1, rows, columns) for i in chosen]))
                parts = updates.split([len(weights[i]) // rows for i in chosen])
                shaped = [part.reshape(weights[i].shape) for part, i in zip(parts, chosen, strict=True)]
                size = STEP_SIZE * max(rows, columns) ** 0.5
                torch._foreach_add_([weights[i] for i in chosen], shaped, alpha=-group["lr"] * size)


def blocks(rows: int) -> int:
    """Into how many parts a matrix of `rows` rows is cut: the fewest equal ones of at most `BLOCK` rows."""
    return next(count for count in range(-(-rows // BLOCK), rows + 1) if rows % count == 0)


def orthogonal(matrices: Tensor) -> Tensor:
    """(n, rows, columns) -> the same shape, float32: of each, U V^T of its singular value decomposition, nearly.

    Five steps of a Newton-Schulz iteration; singular values come out between about 0.7 and 1.2, which serves as well as 1.
    Each step multiplies X from the left by a polynomial in G = X X^T. A convolution's matrix is nine times as wide as it is
    high, so only G and the product of the polynomials are carried along, and X itself is multiplied once, at the end.
    (Measured, 128 x 1152, one core: 44 ms for six instead of 131; the difference is 3e-5, with singular values down to 1e-6.)
    """
    x = matrices.float()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT  # the products below are as large as the shorter side
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)  # no singular value above 1
    gram = x @ x.mT
    product = None
    for _ in range(NEWTON_SCHULZ_STEPS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        polynomial.diagonal(dim1=1, dim2=2).add_(A)
        product = polynomial if product is None else polynomial @ product
        gram = polynomial @ gram @ polynomial
    x = product @ x
    return (x.mT if tall else x).contiguous()
