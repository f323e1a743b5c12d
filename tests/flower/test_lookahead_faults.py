"""A client that sends other lookahead uploads than it was asked for costs its own upload and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message

from fedsim.app import trusting
from fedsim.build import experiment
from fedsim.domain import Drop, Uploads
from fedsim.engine.forging import Carrier
from fedsim.engine.round import play_round
from fedsim.transport import encode
from tests.flower.both_carriers import BASE, STEPS, assert_equal, states
from tests.flower.faults import on_record
from tests.flower.federations import configured, on_grid
from tests.flower.grids import Fault, InProcessGrid

BAD = 4
ATTACKERS = [1, 4, 7]


def too_few(arrays: ArrayRecord) -> None:
    """The last one is missing."""
    del arrays["lookahead-2"]


def too_many(arrays: ArrayRecord) -> None:
    """One more than there are moments."""
    arrays["lookahead-3"] = arrays["lookahead-2"]


def renamed(arrays: ArrayRecord) -> None:
    """A moment that there is not."""
    arrays["lookahead-0"] = arrays.pop("lookahead-2")


def swapped(arrays: ArrayRecord) -> None:
    """In another order than they were made."""
    arrays["lookahead-1"] = arrays.pop("lookahead-1")


def alone(arrays: ArrayRecord) -> None:
    """The sync's upload only."""
    del arrays["lookahead-1"], arrays["lookahead-2"]


def on_lookahead(change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """A fault of the second of them."""

    def fault(arrays: ArrayRecord) -> None:
        arrays["lookahead-2"] = encode(change(arrays["lookahead-2"].numpy().copy()))

    return on_record(fault)


def garbage(arrays: ArrayRecord) -> None:
    """Bytes that are no array."""
    found = arrays["lookahead-1"]
    arrays["lookahead-1"] = Array(found.dtype, found.shape, found.stype, b"no npy at all")


def with_value(place: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """An array with another entry."""

    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


FAULTS: dict[str, tuple[Fault, Any]] = {
    "one too few": (on_record(too_few), "malformed"),
    "one too many": (on_record(too_many), "malformed"),
    "none at all": (on_record(alone), "malformed"),
    "renamed": (on_record(renamed), "malformed"),
    "in another order": (on_record(swapped), "malformed"),
    "an entry short": (on_lookahead(lambda array: array[:-1]), "wrong shape"),
    "another shape": (on_lookahead(lambda array: array[None]), "wrong shape"),
    "empty": (on_lookahead(lambda array: array[:0]), "wrong shape"),
    "a thousand times too long": (on_lookahead(lambda array: np.tile(array, 1000)), "wrong shape"),
    "float64": (on_lookahead(lambda array: array.astype(np.float64)), "malformed"),
    "garbage": (on_record(garbage), "malformed"),
}


@dataclass
class Lossy:
    """A carrier of whose clients one is never heard of."""

    carrier: Carrier
    drop: Drop

    def train(self, clients: Sequence[int], *arguments: Any, **more: Any) -> Uploads:
        """The others' work."""
        found = self.carrier.train(clients, *arguments, **more)
        kept = found.clients != self.drop.client
        return replace(
            found,
            rows=found.rows[kept],
            examples=found.examples[kept],
            losses=found.losses[kept],
            clients=found.clients[kept],
            lookahead=tuple(rows[kept] for rows in found.lookahead),
            dropped=() if kept.all() else (self.drop,),
        )


def without(drop: Drop, **sections: Any) -> Any:
    """The end of the experiment, and its record, when one client's uploads are lost."""
    built = experiment(configured(**{**BASE, **sections}))
    lossy = Lossy(built.world.carrier, drop)
    forger = replace(built.world.forger, carrier=lossy)
    return states(replace(built, world=replace(built.world, carrier=lossy, forger=forger)))


def on_faulty(faults: dict[int, Fault], **sections: Any) -> Any:
    """The experiment on a grid with these faults."""
    return states(on_grid(configured(**{**BASE, **sections}), InProcessGrid.of(trusting, 11, faults=faults)))


@pytest.mark.parametrize("training", [STEPS, {**STEPS, "moving_rate": 0.3}], ids=["taken over", "kept"])
@pytest.mark.parametrize("case", FAULTS)
def test_costs_its_own_upload_and_nothing_else(case: str, training: dict[str, Any]) -> None:
    fault, reason = FAULTS[case]
    found, records = on_faulty({BAD: fault}, training=training)
    expected, others = without(Drop(BAD, reason), training=training)
    assert [record.dropped for record in records] == [(Drop(BAD, reason),)] * 3
    assert_equal(found, expected)
    assert repr(records) == repr(others)


def test_lookahead_uploads_where_none_were_asked_for_are_malformed() -> None:
    def more(arrays: ArrayRecord) -> None:
        arrays["lookahead-1"] = arrays["theta"]

    training = {**STEPS, "lookahead_every": 0}
    found, records = on_faulty({BAD: on_record(more)}, training=training)
    assert [record.dropped for record in records] == [(Drop(BAD, "malformed"),)] * 3
    assert_equal(found, without(Drop(BAD, "malformed"), training=training)[0])


def test_everybody_at_once_skips_the_round() -> None:
    faults = {client: fault for client, (fault, _) in enumerate(FAULTS.values())}
    assert len(faults) == 11
    state, (record, *_) = on_faulty(faults, rounds=1)
    assert record.dropped == tuple(Drop(client, reason) for client, (_, reason) in enumerate(FAULTS.values()))
    assert record.skipped == "no usable upload is left"
    assert not state.memory["trail"].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_the_rules_affair_ahead_of_the_sync(value: float) -> None:
    found, records = on_faulty({BAD: on_lookahead(with_value(3, value))}, rounds=1)
    assert records[0].dropped == ()
    built = experiment(configured(**{**BASE, "rounds": 1}))
    world, state = built.world, built.state

    class Spoilt(Lossy):
        def train(self, *arguments: Any, **more: Any) -> Uploads:
            uploads = self.carrier.train(*arguments, **more)
            uploads.lookahead[1][BAD, 3] = value
            return uploads

    expected, _ = play_round(state, replace(world, carrier=Spoilt(world.carrier, Drop(BAD, "absent"))))
    assert_equal(found, expected)
    assert not torch.equal(expected.params, play_round(state, world)[0].params), "client 4 was left out of one look"


def test_an_adversary_without_all_of_its_poisoned_work_does_not_strike() -> None:
    attack = {"name": "label_flip", "clients": ATTACKERS}

    grid = InProcessGrid.of(trusting, 11)

    def when_poisoned(reply: Message) -> Message | None:
        order = grid.orders[-1].content.config_records["order"]
        return FAULTS["one too few"][0](reply) if order["poisoned"] else reply

    grid.faults[BAD] = when_poisoned
    found, records = states(on_grid(configured(**{**BASE, "attack": attack}), grid))
    assert not any(record.struck or record.dropped for record in records)
    assert_equal(found, states(experiment(configured(**BASE)))[0])
