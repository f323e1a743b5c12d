"""Random updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from clients.base import Malicious
from fedsim.domain import NonNegative
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View


@dataclass(frozen=True)
class RandomNoise(Malicious):
    """Gaussian noise instead of an update, or on top of it.

        replace: x = N(0, sigma^2 I)          add: x = own + N(0, sigma^2 I)

    Fields:
        sigma: standard deviation per entry, in the units of an update.
        mode: "replace" or "add".
    Cost: O(f d).
    Source: "RN" in Shen, Li, Zheng, Learning to Attack Distributionally Robust Federated Learning, Sec. 4; Gaussian
    replacement in Blanchard et al., NeurIPS 2017, Sec. 5.
    """

    sigma: NonNegative = 1.0
    mode: Literal["replace", "add"] = "replace"

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), each row drawn on its own."""
        noise = torch.from_numpy(rng.standard_normal(tuple(view.own.shape), dtype=np.float32))
        crafted = noise.to(view.own) * self.sigma
        return view.own + crafted if self.mode == "add" else crafted
