"""The report of a run: one self-contained HTML page, made from its folder and those it is compared with."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsim.results.figures import accuracy_curves, label_histogram, outcome, sights, target_curves
from fedsim.results.folder import RunFolder
from fedsim.results.keys import SUMMARY

_SIGHT = {
    "own": "It sees only what its own clients would honestly upload.",
    "honest": "It sees the updates of all other clients of the round before it uploads.",
    "rule": "It sees the updates of all other clients of the round, and knows the server's aggregation rule.",
}


def write_report(runs: Sequence[tuple[str, RunFolder]]) -> Path:
    """Write ``report.html`` into the first run's folder, with the others beside it, and return its path."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    folder = runs[0][1]
    config = tomllib.loads((folder.path / "config.toml").read_text(encoding="utf-8"))
    labels, attackers = folder.clients()
    environment = Environment(
        loader=PackageLoader("fedsim.results"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        name=config["name"],
        headline=headline(runs),
        curves=accuracy_curves(runs),
        target=target_curves(runs),
        sights=sights(folder, attackers),
        runs=[
            {"label": label, "link": os.path.relpath(other.path, folder.path), **other.summary()}
            for label, other in runs
        ],
        threat=threat_model(config, attackers),
        histogram=label_histogram(labels, attackers),
        attackers=attackers,
        summary=[(key, folder.summary().get(key), meaning) for key, meaning in SUMMARY.items()],
        config=(folder.path / "config.toml").read_text(encoding="utf-8"),
        environment=(folder.path / "environment.json").read_text(encoding="utf-8"),
    )
    folder.write("report.html", page)
    return folder.path / "report.html"


def headline(runs: Sequence[tuple[str, RunFolder]]) -> str:
    """The answer in one sentence: how much accuracy is left, and what the compared runs end with."""
    first = runs[0][1].summary()
    told = f"{outcome(first)} ends with a test accuracy of {_percent(first)}"
    others = [f"{label} ({outcome(found.summary())}) {_percent(found.summary())}" for label, found in runs[1:]]
    return f"{told}; beside it: {', '.join(others)}." if others else f"{told}."


def threat_model(config: Mapping[str, Any], attackers: Sequence[int]) -> list[str]:
    """The adversary of a resolved configuration, in sentences."""
    attack, count = config["attack"], config["clients"]["count"]
    if not attackers:
        return [f"Nobody attacks: all {count} clients are honest."]
    told = [
        f"The adversary holds {len(attackers)} of {count} clients ({_listed(attackers)}), which collude.",
        f"Its attack is {attack['name']}{_settings(attack)}.",
        _SIGHT[attack["knowledge"]],
        _timing(attack),
    ]
    final = attack.get("stealth_final")
    if final is not None:
        told.append(f"The crafted share of what it uploads goes from {attack['stealth']} to {final} over the run.")
    elif attack["stealth"] < 1:
        told.append(f"What it uploads is crafted to a share of {attack['stealth']}, the rest is honest.")
    strategy = config["strategy"]
    told.append(f"The server aggregates with {strategy['name']}{_settings(strategy)}.")
    return told


_ADVERSARY_KEYS = {
    *("name", "clients", "knowledge", "stealth", "stealth_final", "start", "stop", "every", "probability", "late")
}


def _settings(entry: Mapping[str, Any]) -> str:
    shown = [f"{key} = {_shown(value)}" for key, value in entry.items() if key not in _ADVERSARY_KEYS]
    return f" ({', '.join(shown)})" if shown else ""


def _shown(value: Any) -> str:
    return f"{value['name']}{_settings(value)}" if isinstance(value, Mapping) else str(value)


def _timing(attack: Mapping[str, Any]) -> str:
    first = attack["start"]
    if "stop" in attack:
        span = f"in rounds {first} to {attack['stop']}"
    else:
        span = "in every round" if first == 1 else f"from round {first} on"
    if attack["every"] > 1:
        span = f"{span}, in one round of {attack['every']}"
    chance = f", each time with probability {attack['probability']}" if attack["probability"] < 1 else ""
    last = ", with a round's last uploads only" if attack.get("late") else ""
    return f"It strikes {span}{chance}{last}."


def _listed(clients: Sequence[int]) -> str:
    shown = ", ".join(str(client) for client in clients[:12])
    return f"client {shown}" if len(clients) == 1 else f"clients {shown}{', …' if len(clients) > 12 else ''}"


def _percent(found: Mapping[str, Any]) -> str:
    early = "" if found["status"] == "finished" else f", {found['status']} after {found['rounds']} rounds"
    return f"untested{early}" if found["accuracy"] is None else f"{100 * found['accuracy']:.1f} %{early}"
