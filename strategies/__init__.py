"""Aggregation rules: each is a frozen dataclass of hyperparameters, called with one round's updates.

``from strategies import Krum`` imports that rule's module and no other; ``RobustStrategy`` puts any of them on Flower.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedsim.tables import Table

if TYPE_CHECKING:
    from strategies.bulyan import Bulyan
    from strategies.clipping import CenteredClipping, NormClipping
    from strategies.dnc import DnC
    from strategies.flame import Flame
    from strategies.flower import RobustStrategy
    from strategies.fltrust import FLTrust
    from strategies.foolsgold import FoolsGold
    from strategies.geometric_median import GeometricMedian
    from strategies.krum import Krum, MultiKrum
    from strategies.mean import Mean
    from strategies.median import Median
    from strategies.mixing import Bucketing, NearestNeighborMixing
    from strategies.romoa import Romoa
    from strategies.signguard import SignGuard
    from strategies.trimmed_mean import TrimmedMean

__all__ = [
    "RULES",
    "Bucketing",
    "Bulyan",
    "CenteredClipping",
    "DnC",
    "FLTrust",
    "Flame",
    "FoolsGold",
    "GeometricMedian",
    "Krum",
    "Mean",
    "Median",
    "MultiKrum",
    "NearestNeighborMixing",
    "NormClipping",
    "RobustStrategy",
    "Romoa",
    "SignGuard",
    "TrimmedMean",
]

RULES = Table(
    "strategy",
    {
        "mean": "strategies.mean:Mean",
        "median": "strategies.median:Median",
        "trimmed_mean": "strategies.trimmed_mean:TrimmedMean",
        "krum": "strategies.krum:Krum",
        "multi_krum": "strategies.krum:MultiKrum",
        "bulyan": "strategies.bulyan:Bulyan",
        "geometric_median": "strategies.geometric_median:GeometricMedian",
        "centered_clipping": "strategies.clipping:CenteredClipping",
        "norm_clipping": "strategies.clipping:NormClipping",
        "fltrust": "strategies.fltrust:FLTrust",
        "dnc": "strategies.dnc:DnC",
        "foolsgold": "strategies.foolsgold:FoolsGold",
        "signguard": "strategies.signguard:SignGuard",
        "flame": "strategies.flame:Flame",
        "romoa": "strategies.romoa:Romoa",
        "nnm": "strategies.mixing:NearestNeighborMixing",
        "bucketing": "strategies.mixing:Bucketing",
    },
)

_CLASSES = {path.partition(":")[2]: path for path in (*RULES.entries.values(), "strategies.flower:RobustStrategy")}


def __getattr__(attribute: str) -> Any:
    if attribute not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    return getattr(import_module(_CLASSES[attribute].partition(":")[0]), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_CLASSES})
