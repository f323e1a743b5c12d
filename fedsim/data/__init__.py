"""Data sets, and how one is dealt out to clients."""

from fedsim.tables import Table

DATASETS = Table(
    "data set",
    {
        "digits": "fedsim.data.digits:Digits",
        "mnist": "fedsim.data.mnist:Mnist",
        "fashion_mnist": "fedsim.data.mnist:FashionMnist",
        "cifar10": "fedsim.data.cifar10:Cifar10",
        "folder": "fedsim.data.folder:Folder",
        "shell": "fedsim.data.shell:Shell",
    },
)

PARTITIONS = Table(
    "partition",
    {
        "iid": "fedsim.data.partition:Iid",
        "dirichlet": "fedsim.data.partition:Dirichlet",
        "shards": "fedsim.data.partition:Shards",
        "one_label": "fedsim.data.partition:OneLabel",
        "by_size": "fedsim.data.partition:BySize",
    },
)
