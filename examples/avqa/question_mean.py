"""A mean over questions, whatever batches and processes they came in."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class QuestionMean(Metric):
    """Mean weighted by numbers of questions. torchmetrics' own drops the weights where it is told to keep NaN.

    Examples:
        >>> mean = QuestionMean()
        >>> mean.update(torch.tensor(2.0), torch.tensor(3))
        >>> mean.update(torch.tensor(6.0), torch.tensor(1))
        >>> mean.compute()
        tensor(3.)
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, mean: Tensor, count: Tensor) -> None:
        """Adds the mean of `count` questions."""
        self.total = self.total + mean * count
        self.count = self.count + count

    def compute(self) -> Tensor:
        """The mean over all questions of all processes."""
        return self.total / self.count
