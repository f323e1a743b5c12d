"""Reading the tables must not wait for the large libraries."""

import subprocess
import sys

from fedsim.data import DATASETS, PARTITIONS
from fedsim.models import MODELS
from fedsim.objectives import OBJECTIVES
from fedsim.tables import first_line

SCRIPT = """
import sys
from fedsim.data import DATASETS, PARTITIONS
from fedsim.models import MODELS
from fedsim.objectives import OBJECTIVES
import fedsim.data.source, fedsim.objectives.objective
from fedsim.tables import fields
for table in (DATASETS, PARTITIONS, MODELS, OBJECTIVES):
    for name in table.entries:
        fields(table.load(name))
print([name for name in ("torch", "torchvision", "sklearn", "matplotlib", "PIL") if name in sys.modules])
"""


def test_every_entry_is_read_without_the_large_libraries():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_every_entry_says_what_it_is():
    for table in (DATASETS, PARTITIONS, MODELS, OBJECTIVES):
        for name in table.entries:
            assert first_line(table.load(name)).endswith("."), name
