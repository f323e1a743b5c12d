"""Local objectives: what a client minimises on its own samples."""

from fedsim.tables import Table

OBJECTIVES = Table("objective", {"erm": "fedsim.objectives.erm:Erm"})
