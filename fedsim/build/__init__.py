"""From a configuration to the objects of an experiment: the only package that turns names into things."""

from fedsim.build.experiment import Experiment, experiment
from fedsim.build.federation import Federation, federation, tested
from fedsim.build.roles import adversary_of, answers, check, client_settings, rule_of, rule_shown
from fedsim.build.tables import TABLES

__all__ = [
    "TABLES",
    "Experiment",
    "Federation",
    "adversary_of",
    "answers",
    "check",
    "client_settings",
    "experiment",
    "federation",
    "rule_of",
    "rule_shown",
    "tested",
]
