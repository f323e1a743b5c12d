"""Targeted poisoning: by hand, by definition, by promise, by refusal."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import refusal_of, rng, steady, view

from clients.tpa import TargetedPoisoning
from fedsim.domain import Dataset, Mistake, Refused


def labelled(labels, classes=10, first=0.0):
    """Samples that are their number."""
    inputs = first + torch.arange(float(len(labels))).view(-1, 1)
    return Dataset(inputs, torch.tensor(labels, dtype=torch.int64), classes)


def test_its_goal_is_samples_of_the_source_under_the_targets_label():
    goal = TargetedPoisoning(source=6, target=3, samples=2).goal(labelled([6, 3, 6, 1, 6, 6]), rng())
    assert goal.labels.tolist() == [3, 3]
    assert set(goal.inputs.flatten().tolist()) < {0, 2, 4, 5}
    assert goal.classes == 10


def test_its_goal_is_all_there_are_where_they_are_few():
    goal = TargetedPoisoning(samples=10).goal(labelled([6, 3, 6]), rng())
    assert sorted(goal.inputs.flatten().tolist()) == [0, 2]


def test_other_draws_choose_other_samples():
    chosen = {tuple(TargetedPoisoning().goal(labelled([6] * 20), rng(s)).inputs.flatten().tolist()) for s in range(8)}
    assert len(chosen) > 1


def test_targets_are_a_share_of_all_by_repetition_by_hand():
    # of 6 samples and k targets, k / (6 + k) = 0.4 at k = 4: 2 targets, twice
    goal = labelled([3, 3], first=100.0)
    poisoned = TargetedPoisoning(share=0.4).poison(labelled([0, 1, 2, 4, 5, 6]), rng(), goal)
    assert poisoned.inputs.flatten().tolist() == [0, 1, 2, 3, 4, 5, 100, 101, 100, 101]
    assert poisoned.labels.tolist() == [0, 1, 2, 4, 5, 6, 3, 3, 3, 3]


@steady
@given(st.integers(0, 40), st.integers(1, 12), st.floats(0.01, 0.95))
def test_share_by_definition(own, targets, share):
    poisoned = TargetedPoisoning(share=share).poison(labelled([1] * own), rng(), labelled([3] * targets, first=100.0))
    added = poisoned.inputs.flatten().tolist()[own:]
    assert set(added) == {100.0 + place for place in range(targets)}, "each at least once"
    counts = [added.count(place) for place in set(added)]
    assert max(counts) - min(counts) <= 1
    # The number of targets is the nearest to the share, but for each being there once.
    assert len(added) == targets or abs(share * own - (1 - share) * len(added)) <= 0.5001


def test_share_zero_poisons_nothing():
    data = labelled([1, 2])
    assert TargetedPoisoning(share=0.0).poison(data, rng(), labelled([3])) is data


def test_boosts_by_hand():
    # two of five: each its own, times 5 / 2
    shown = view([[0, 0], [0, 0]], others=3, poisoned=[[2, 4], [6, -8]])
    assert TargetedPoisoning()(shown, rng()).tolist() == [[5, 10], [15, -20]]
    assert TargetedPoisoning(boost=2.0)(shown, rng()).tolist() == [[4, 8], [12, -16]]


def test_exact_by_hand():
    # n = 5, mean of the malicious (4, -2), honest sum (9, 3): (20 - 9, -10 - 3) / 2
    shown = view([[0, 0], [0, 0]], [[1, 1], [3, 3], [5, -1]], poisoned=[[2, 4], [6, -8]])
    assert TargetedPoisoning(exact=True)(shown, rng()).tolist() == [[5.5, -6.5], [5.5, -6.5]]


@pytest.mark.parametrize("missing", [0, 2])
def test_exact_leaves_the_malicious_model_alone_in_the_mean(missing):
    """The promise, also where clients that were chosen are absent."""
    draw = torch.Generator().manual_seed(0)
    honest, poisoned = torch.randn(8 - missing, 5, generator=draw), torch.randn(2, 5, generator=draw)
    shown = view(torch.zeros(2, 5), honest, poisoned=poisoned)
    object.__setattr__(shown, "n", 10)
    forged = TargetedPoisoning(exact=True)(shown, rng())
    torch.testing.assert_close(torch.cat([honest, forged]).mean(dim=0), poisoned.mean(dim=0))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"source": 4, "target": 4}, "tpa changes nothing: source and target are both 4"),
        ({"share": 1.0}, "tpa.share: 1.0 leaves no room for samples of the attackers' own"),
        ({"exact": True, "boost": 2.0}, "tpa: set boost, or exact = true, not both"),
        ({"boost": 0.0}, "TargetedPoisoning.boost: 0.0 is out of range; must be greater than 0"),
        ({"samples": 0}, "TargetedPoisoning.samples: 0 is out of range; must be at least 1"),
        ({"pace": 0}, "TargetedPoisoning.pace: 0 is out of range; must be at least 1"),
    ],
)
def test_refuses_settings(settings, sentence):
    with pytest.raises(Mistake) as refusal:
        TargetedPoisoning(**settings)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(("source", "target"), [(3, 0), (0, 3)])
def test_refuses_a_label_that_the_data_do_not_have(source, target):
    with pytest.raises(Refused) as refusal:
        TargetedPoisoning(source, target).goal(labelled([0, 1, 2], 3), rng())
    assert str(refusal.value) == f"tpa refuses source = {source}, target = {target}: the data have labels 0 to 2"


def test_refuses_a_test_set_without_the_source():
    with pytest.raises(Refused) as refusal:
        TargetedPoisoning().goal(labelled([0, 1, 3]), rng())
    assert str(refusal.value) == "tpa refuses source = 6: the test set has no sample of it"


def test_exact_refuses_to_see_its_own_alone():
    assert refusal_of(TargetedPoisoning(exact=True), 10, 2, "own") == (
        'tpa with exact = true needs knowledge "honest": it takes out the honest updates'
    )
    TargetedPoisoning(exact=True).require(10, 2, "honest")
    TargetedPoisoning().require(10, 1, "own")
