"""Configurations: what can be written, reading them, and refusing them clearly."""

from fedsim.config.reading import read
from fedsim.config.sections import (
    AttackSection,
    ClientsSection,
    Config,
    EngineSection,
    Entry,
    ServerSection,
    TrainingSection,
)
from fedsim.config.writing import config_hash, resolved, to_toml

__all__ = [
    "AttackSection",
    "ClientsSection",
    "Config",
    "EngineSection",
    "Entry",
    "ServerSection",
    "TrainingSection",
    "config_hash",
    "read",
    "resolved",
    "to_toml",
]
