"""Data sets, and how one is dealt out to clients."""

from fedsim.tables import Table

DATASETS = Table(
    "data set",
    {
        "digits": "fedsim.data.digits:Digits",
    },
)

PARTITIONS = Table(
    "partition",
    {
        "iid": "fedsim.data.partition:Iid",
    },
)
