"""How time and memory grow with the clients chosen in a round, and with those registered.

Each case runs in a process of its own, whose greatest memory is what its imports took and then the experiment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.speed.turns import Contestant, Spread, Terms, timed
from experiments.speed.workloads import DIGITS, Workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALL = Workload("dense", "mlp", DIGITS, 16, 4, samples=32)
CASES = ((10, 10), (100, 100), (1000, 1000), (100, 1000), (100, 10_000))
"""How many are chosen of how many."""
ROOT = Path(__file__).parents[2]
CHILD = "import sys; from experiments.speed.scale import child; child(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"
HEADER = ["chosen", "registered", "ms a round", "low", "high", "ms a client", "peak MB", "matrix MB", "data MB"]


@dataclass(frozen=True)
class Scale:
    """A case.

    Fields:
        ours: milliseconds a round.
        peak: MB beyond what imports took; 0 where the system does not tell.
        matrix, data: MB of the chosen clients' uploads, and of all clients' samples.
    """

    chosen: int
    registered: int
    ours: Spread
    peak: float
    matrix: float
    data: float

    def cells(self) -> list[object]:
        """What stands under ``HEADER``."""
        times = [*self.ours, self.ours.middle / self.chosen]
        return [
            self.chosen,
            self.registered,
            *(f"{value:.4g}" for value in times),
            *(f"{value:.1f}" for value in (self.peak, self.matrix, self.data)),
        ]

    def __str__(self) -> str:
        """The line on the terminal."""
        return (
            f"{self.chosen:>5} of {self.registered:>6} clients  {self.ours.middle:9.3g} ms a round "
            f"({self.ours.low:.3g} to {self.ours.high:.3g}), {self.ours.middle / self.chosen:.3g} ms a client  "
            f"peak {self.peak:.0f} MB, for {self.matrix:.1f} MB of uploads and {self.data:.1f} MB of data"
        )


def measure(terms: Terms) -> Iterator[Scale]:
    """A line for each case."""
    for chosen, registered in CASES[:1] if terms.quick else CASES:
        command = [sys.executable, "-c", CHILD, str(chosen), str(registered), json.dumps(asdict(terms))]
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(ended.stdout)
        yield Scale(chosen, registered, Spread(*found.pop("ours")), **found)


def child(chosen: int, registered: int, terms: str) -> None:
    """Play some rounds and print what they took, as JSON."""
    import torch

    from fedsim.build import experiment
    from fedsim.engine.round import play_round
    from fedsim.geometry import weighted_sum

    asked = Terms(**json.loads(terms))
    torch.set_num_threads(asked.threads)
    # What is loaded at first use is no part of the experiment.
    warm = experiment(SMALL.config(10, asked))
    play_round(warm.state, warm.world)
    # numba, with its compiler, for matrices of many entries.
    weighted_sum(torch.ones(10, 1 << 19), torch.ones(10))
    before = peak_megabytes()
    built = experiment(SMALL.config(registered, asked, clients={"per_round": chosen}))
    state, seconds = built.state, []

    def play(_: object) -> None:
        nonlocal state
        state, _ = play_round(state, built.world)

    for _ in range(1 + max(3, min(asked.most, 2000 // chosen))):
        seconds.append(getattr(timed(Contestant(play), asked.device), asked.clock))
    sample = 4 * (DIGITS[0] * DIGITS[1] * DIGITS[2]) + 8
    figures = {
        "ours": Spread.of([1000 * second for second in seconds[1:]]),
        "peak": peak_megabytes() - before,
        "matrix": chosen * built.world.layout.size * 4 / 1e6,
        "data": registered * SMALL.samples * sample / 1e6,
    }
    print(json.dumps(figures))


def peak_megabytes() -> float:
    """The most memory this process has had; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says here begins with the memory of whoever started the process.
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e3
    try:
        import resource
    except ImportError:  # Windows has none.
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def draw(path: Path, lines: Sequence[Scale]) -> None:
    """Time a round and memory, against those chosen and those registered."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from experiments.speed.pictures import save

    figure, axes = pyplot.subplots(2, 2, figsize=(8, 5.6), sharex="col", sharey="row")
    growing = [(line.chosen, line) for line in lines if line.chosen == line.registered]
    sampling = [(line.registered, line) for line in lines if line.chosen == 100]
    for column, points, label in zip(axes.T, (growing, sampling), ("all chosen", "100 chosen"), strict=True):
        if points:
            _column(column[0], column[1], points)
        column[1].set_xlabel(f"clients, {label}")
    axes[0, 0].set_ylabel("ms a round")
    axes[1, 0].set_ylabel("MB")
    axes[1, 0].legend(frameon=False)
    figure.tight_layout()
    save(path)


def _column(time: Axes, memory: Axes, points: Sequence[tuple[int, Scale]]) -> None:
    from experiments.speed.pictures import INKS

    where = [place for place, _ in points]
    spreads = [line.ours for _, line in points]
    errors = [[it.middle - it.low for it in spreads], [it.high - it.middle for it in spreads]]
    time.errorbar(where, [it.middle for it in spreads], errors, color=INKS[0], marker="o", capsize=3)
    memory.plot(where, [line.peak for _, line in points], color=INKS[0], marker="o", label="peak, beyond imports")
    bound = [line.matrix + line.data for _, line in points]
    memory.plot(where, bound, color=INKS[1], marker="s", linestyle="--", label="uploads and data")
    for axis in (time, memory):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter("{x:,g}")
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.grid(True, which="major", linewidth=0.3)
        axis.spines[["top", "right"]].set_visible(False)
