"""The expert_pool kernel alone, against one plain matrix product of the same FLOPs. It needs a CUDA device.

B batch, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaussian_moe.kernels.expert_pool import op

from .agreement import EPS, Bounds, Errors, Exact, bounds, compare
from .cases import Case
from .implementations import Computation
from .problem import make_problem


class PoolContest:
    """The kernel with every frame in reach, with frames out of reach skipped, and the product."""

    def __init__(self, case: Case, device: str) -> None:
        self._case = case
        self._problem = problem = make_problem(case, device)
        layer, self._frames = problem.layer, problem.frames
        with torch.no_grad():
            self._routing = layer.router(problem.question, problem.frames, return_weights=False)
        self._weight1, self._bias1 = layer.experts.weight1.detach(), layer.experts.bias1.detach()
        D, H = case.D, layer.experts.hidden_dim
        self._wide_weight = self._weight1[: case.K].reshape(case.K * H, D).T
        self._exact: dict[bool, Exact] = {}
        self._plain: Errors | None = None

    def make(self, name: str) -> Computation:
        """The implementation of this name: `expert_pool`, `expert_pool_skipping`, `matrix_product`, `plain`."""
        calls: dict[str, Callable[[], Tensor]] = {
            "expert_pool": lambda: self._kernel(0.0),
            "expert_pool_skipping": lambda: self._kernel(op.reach_threshold(self._frames.dtype)),
            "matrix_product": lambda: self._frames.view(-1, self._case.D) @ self._wide_weight,
            "plain": lambda: self._in_torch(slice(None), self._frames.dtype),
        }
        call = calls[name]
        return Computation(name, self._problem.layer, self._problem, lambda question, frames: call())

    def errors(self, computation: Computation, gradients: bool) -> Errors:
        """How far its result is from float64."""
        product = computation.name == "matrix_product"
        if product not in self._exact:
            self._exact[product] = Exact(self._product_in_float64() if product else self._in_float64())
        return compare(computation.forward(), None, (), self._exact[product])

    def bounds(self, name: str, gradients: bool) -> Bounds:
        """How far they may be: twice the error of the same sum in plain torch; the product, its rounding."""
        if name == "matrix_product":
            return Bounds(2 * EPS.get(self._case.dtype, 1e-5), 0.0)
        if self._plain is None:
            self._plain = self.errors(self.make("plain"), gradients)
        return bounds(self._case.dtype, self._plain)

    def _kernel(self, epsilon: float) -> Tensor:
        routing = self._routing
        state: Tensor = op.expert_pool(
            self._frames.unsqueeze(1),
            self._weight1,
            self._bias1,
            routing.indices,
            None,
            routing.centers,
            routing.stds,
            None,
            None,
            None,
            epsilon,
            False,
        )[0]
        return state.squeeze(1)

    def _in_torch(self, part: slice, dtype: torch.dtype) -> Tensor:
        """The definition in plain torch for some clips, [b, K, H]."""
        frames, routing = self._frames[part].to(dtype), self._routing
        K, T, H = self._case.K, self._case.T, self._weight1.shape[1]
        expert = routing.indices[part]
        weight = self._weight1[expert].to(dtype).flatten(1, 2)  # [b, K H, D]
        bias = self._bias1[expert].to(dtype).flatten(1, 2).unsqueeze(1)  # [b, 1, K H]
        hidden = torch.relu(frames @ weight.transpose(1, 2) + bias).view(-1, T, K, H)
        wide = torch.promote_types(dtype, torch.float32)
        centers, stds = (tensor[part].to(wide).unsqueeze(-1) for tensor in (routing.centers, routing.stds))
        times = torch.arange(T, device=frames.device, dtype=wide) / max(T - 1, 1)
        exponent = -(((times - centers) / stds) ** 2) / 2  # [b, K, T]
        weights = (exponent - exponent.amax(-1, keepdim=True)).exp()
        return torch.einsum("bkt,btkh->bkh", weights.to(dtype), hidden)

    def _in_float64(self) -> Tensor:
        return torch.cat([self._in_torch(slice(b, b + 1), torch.float64) for b in range(self._case.B)])

    def _product_in_float64(self) -> Tensor:
        wide = self._wide_weight.double()
        return torch.cat([clip.double() @ wide for clip in self._frames])
