"""The adversary in a round: what it is shown, which rows it replaces, when it holds back, its measures."""

import pytest
import torch
from builders import StubAttack, StubRule, flat, stub_world

from clients.adversary import Adversary, Schedule, Stealth
from clients.alie import ALittleIsEnough
from clients.ipm import InnerProductManipulation
from clients.label_flip import LabelFlip
from clients.mimic import Mimic
from fedsim.engine.round import play_round

ROWS = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]]


def played_by(attack, attackers=(1, 3), rows=ROWS, **options):
    """The view shown and what came of one round in which ``attack`` holds some clients."""
    rule = StubRule()
    adversary = Adversary(attack, attackers, **options)
    world = stub_world(rows, adversary=adversary, rule=rule)
    state = world.start(torch.tensor([5.0, 6.0]))
    after, played = play_round(state, world)
    return world, state, after, played, rule


def test_replaces_its_own_rows_and_no_others():
    world, *_, played, rule = played_by(StubAttack(value=-9.0))
    assert rule.seen[0].deltas.tolist() == [[1, 0], [-9, -9], [3, 0], [-9, -9]]
    assert rule.seen[0].clients.tolist() == [0, 1, 2, 3]
    assert rule.seen[0].deltas.data_ptr() == world.carrier.sent[0].rows.data_ptr(), "no second matrix of all rows"
    assert played.struck
    assert played.attackers == (1, 3)


def test_shows_what_every_adversary_knows():
    attack = StubAttack()
    world, *_ = played_by(attack, knowledge="own")
    (view,) = attack.shown
    assert (view.round, view.n) == (1, 4)
    assert view.params.tolist() == [5, 6]
    assert view.own.tolist() == [[2, 0], [4, 0]]
    assert view.layout == world.layout
    assert view.data == (world.forger.shards[1], world.forger.shards[3])
    assert view.poisoned is None


@pytest.mark.parametrize(
    ("knowledge", "honest", "rule"), [("own", False, False), ("honest", True, False), ("rule", True, True)]
)
def test_knowledge_decides_what_is_shown(knowledge, honest, rule):
    attack = StubAttack()
    world, state, *_ = played_by(attack, knowledge=knowledge)
    (view,) = attack.shown
    assert (view.honest.tolist() if view.honest is not None else None) == ([[1, 0], [3, 0]] if honest else None)
    assert view.rule is (world.rule if rule else None)
    assert view.memory == (dict(state.memory) if rule else None)


def test_shows_weights_only_and_sends_the_buffers_it_trained():
    attack = StubAttack(value=-9.0)
    adversary = Adversary(attack, (1,), "honest")
    world = stub_world([[1.0, 10.0], [2.0, 30.0]], layout=flat(1, 1), adversary=adversary, server={"buffers": "mean"})
    state, _ = play_round(world.start(torch.tensor([5.0, 6.0])), world)
    (view,) = attack.shown
    assert view.own.tolist() == [[2]]
    assert view.honest.tolist() == [[1]]
    assert view.params.tolist() == [5]
    assert state.params.tolist() == [5 - 4, 6 + 20]


def test_holds_back_outside_its_schedule():
    attack = StubAttack()
    *_, played, rule = played_by(attack, schedule=Schedule(start=2))
    assert not played.struck
    assert played.attackers == (1, 3)
    assert rule.seen[0].deltas.tolist() == ROWS
    assert attack.shown == []


def test_holds_back_in_a_round_whose_numbers_its_paper_rules_out():
    """Under client sampling the number of attackers varies; the attack is off where it is too small."""
    attack = StubAttack(least=2)
    rule = StubRule()
    adversary = Adversary(attack, (0, 1, 2, 3))
    world = stub_world([[1.0]] * 8, chosen=3, adversary=adversary, rule=rule)
    state, seen = world.start(torch.zeros(1)), set()
    for _ in range(30):
        state, played = play_round(state, world)
        f = len(played.attackers)
        seen.add(f)
        assert played.struck == (f >= 2)
        assert (rule.seen[-1].deltas == -9).sum() == (f if f >= 2 else 0)
    assert seen >= {0, 1, 2}
    assert {view.n for view in attack.shown} == {3}, "those chosen, not all there are"


@pytest.mark.parametrize(
    ("attack", "attackers"), [(ALittleIsEnough(), (0, 1, 2)), (InnerProductManipulation(), (0, 1, 2, 3))]
)
def test_attacks_of_the_table_hold_back_where_they_refuse(attack, attackers):
    *_, played, rule = played_by(attack, attackers, knowledge="honest")
    assert not played.struck
    assert played.skipped is None
    assert rule.seen[0].deltas.tolist() == ROWS


def test_holds_back_where_the_upload_that_it_would_copy_did_not_come():
    """Client 2 is the second honest one, and absent."""
    rows = {0: [1.0, 0.0], 1: [2.0, 0.0], 3: [4.0, 0.0]}
    *_, played, rule = played_by(Mimic(victim=1), rows=rows, knowledge="honest")
    assert not played.struck
    assert rule.seen[0].deltas.tolist() == list(rows.values())


def test_stealth_blends_what_is_sent():
    *_, rule = played_by(StubAttack(value=0.0), stealth=Stealth(0.25))
    assert rule.seen[0].deltas.tolist() == [[1, 0], [1.5, 0], [3, 0], [3, 0]]


def test_poison_attacks_upload_what_poisoned_training_gave():
    rule = StubRule()
    adversary = Adversary(LabelFlip(), (1, 2))
    world = stub_world(
        [[1.0, 9.0], [2.0, 9.0], [3.0, 9.0]],
        layout=flat(1, 1),
        adversary=adversary,
        rule=rule,
        poisoned={1: [-2.0, 77.0], 2: [-3.0, 77.0]},
    )
    state, played = play_round(world.start(torch.zeros(2)), world)
    assert played.struck
    assert rule.seen[0].deltas.tolist() == [[1], [-2], [-3]]
    assert state.params[1] == 9, "its buffers stay honest"
    assert world.carrier.calls == [((0, 1, 2), 1, False), ((1, 2), 1, True)]


def test_no_poisoned_training_in_a_round_without_a_strike():
    adversary = Adversary(LabelFlip(), (1,), schedule=Schedule(start=2))
    world = stub_world([[1.0], [2.0]], adversary=adversary, poisoned={1: [-2.0]})
    play_round(world.start(torch.zeros(1)), world)
    assert world.carrier.calls == [((0, 1), 1, False)]


def test_measures_of_a_strike_by_hand():
    # honest rows (3, 4) and (3, -4): norms 5 and 5, mean (3, 0)
    # forged row (-2, -2): norm sqrt(8), cosine -6 / (3 sqrt(8)) = -1/sqrt(2)
    rows = [[3.0, 4.0], [1.0, 1.0], [3.0, -4.0]]
    *_, played, _ = played_by(StubAttack(value=-2.0), (1,), rows)
    measures = played.measures
    assert measures["honest_norm"] == pytest.approx(5)
    assert measures["train_loss"] == pytest.approx(2)  # losses 0 and 4 of the honest
    assert measures["forged_norm"] == pytest.approx(8**0.5)
    assert measures["forged_cosine"] == pytest.approx(-(0.5**0.5))
    assert measures["attackers_share"] == pytest.approx(1 / 3)


def test_attackers_share_counts_only_rows_that_reached_the_rule():
    rows = [[1.0, 0.0], [float("nan"), 0.0], [3.0, 0.0], [4.0, 0.0]]
    *_, played, _ = played_by(StubAttack(), (1, 3), rows, schedule=Schedule(start=2))
    assert played.attackers == (1, 3)
    assert played.measures["attackers_share"] == pytest.approx(1 / 3)
    assert "forged_norm" not in played.measures


def test_no_share_without_attackers():
    *_, played, _ = played_by(StubAttack(), ())
    assert "attackers_share" not in played.measures
