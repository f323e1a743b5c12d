"""The few types everything in fedsim is said in."""

from fedsim.domain.basics import Count, Layout, Mistake, NonNegative, Positive, PositiveCount, Refused, Share
from fedsim.domain.rounds import Drop, Measure, Round, ServerState, Uploads
from fedsim.domain.rules import Aggregate, Aggregator, Memory, Observer, Updates
from fedsim.domain.samples import Dataset, Part, Shards
from fedsim.domain.threat import KNOWLEDGE, Attack, Knowledge, Poison, Targeted, View

__all__ = [
    "KNOWLEDGE",
    "Aggregate",
    "Aggregator",
    "Attack",
    "Count",
    "Dataset",
    "Drop",
    "Knowledge",
    "Layout",
    "Measure",
    "Memory",
    "Mistake",
    "NonNegative",
    "Observer",
    "Part",
    "Poison",
    "Positive",
    "PositiveCount",
    "Refused",
    "Round",
    "ServerState",
    "Shards",
    "Share",
    "Targeted",
    "Updates",
    "Uploads",
    "View",
]
