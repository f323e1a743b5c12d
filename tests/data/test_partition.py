"""The laws of every partition, and what each does by hand."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.data import PARTITIONS
from fedsim.data.partition import BySize, Dirichlet, Iid, OneLabel, Shards, histogram
from fedsim.domain import Mistake

EVERY = pytest.mark.parametrize("name", PARTITIONS.entries)
TEN_CLASSES = np.arange(400) % 10


class Scripted:
    """Stands for a generator: permutations change nothing, Dirichlet draws are given."""

    def __init__(self, *shares):
        self.shares = list(shares)

    def permutation(self, what):
        return np.arange(what) if isinstance(what, int) else what

    def dirichlet(self, alpha, rows):
        return np.array([self.shares.pop(0) for _ in range(rows)])


def deal(partition, labels, clients, seed=0):
    return partition(np.asarray(labels), clients, np.random.default_rng(seed))


def lists(parts):
    return [part.tolist() for part in parts]


@EVERY
@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=60, max_size=150),
    clients=st.integers(5, 10),
    seed=st.integers(0, 99),
)
def test_every_sample_goes_to_one_client(name, labels, clients, seed):
    labels = np.array(labels)
    before = labels.copy()
    parts = deal(PARTITIONS.load(name)(), labels, clients, seed)
    assert len(parts) == clients
    assert all(len(part) >= 1 for part in parts)
    assert all(part.dtype == np.int64 for part in parts)
    assert all((np.diff(part) > 0).all() for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert np.array_equal(labels, before)


@EVERY
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_the_seed_decides(name, seed):
    partition = PARTITIONS.load(name)()
    one, same, other = (deal(partition, TEN_CLASSES, 20, s) for s in (seed, seed, seed + 1))
    assert lists(one) == lists(same)
    assert lists(one) != lists(other)


@EVERY
@pytest.mark.parametrize("clients", [0, 4])
def test_refuses_what_cannot_be_shared(name, clients):
    with pytest.raises(Mistake) as refusal:
        deal(PARTITIONS.load(name)(), [0, 0, 0], clients)
    assert str(refusal.value) == f"partition: {clients} clients cannot share 3 samples; use from 1 to 3 clients"


@EVERY
def test_one_client_holds_all(name):
    assert lists(deal(PARTITIONS.load(name)(), [0] * 7, 1)) == [list(range(7))]


@EVERY
def test_samples_of_one_label_are_shuffled_before_they_are_dealt(name):
    parts = deal(PARTITIONS.load(name)(), [0] * 50, 5)
    # Unshuffled, a client would hold one run of neighbours, or one a shard.
    assert all((np.diff(part) > 1).sum() > 2 for part in parts if len(part) >= 10)


def test_histogram_by_hand():
    parts = [np.array([0, 1, 4]), np.array([2, 3])]
    counts = histogram(np.array([2, 0, 1, 1, 2]), parts, 4)
    assert counts.tolist() == [[1, 0, 2, 0], [0, 2, 0, 0]]


def test_iid_sizes_differ_by_one_and_labels_are_mixed():
    parts = deal(Iid(), TEN_CLASSES, 7)
    assert sorted(map(len, parts)) == [57, 57, 57, 57, 57, 57, 58]
    # Five or six of each label expected; a sorted deal would give none of most.
    assert histogram(TEN_CLASSES, parts, 10).max() < 20


def test_dirichlet_by_hand():
    # Class 0 is at 0, 2, 4, 6 and cut at 1; class 1 is at 1, 3, 5, 7 and cut at 3.5, so at 3.
    parts = Dirichlet()(np.arange(8) % 2, 2, Scripted([0.25, 0.75], [0.875, 0.125]))
    assert lists(parts) == [[0, 1, 3, 5], [2, 4, 6, 7]]


def test_dirichlet_draws_again_until_each_has_the_minimum():
    shares = [[1.0, 0.0], [0.75, 0.25], [0.5, 0.5]]
    assert lists(Dirichlet(minimum=2)(np.zeros(4, int), 2, Scripted(*shares))) == [[0, 1], [2, 3]]
    assert lists(Dirichlet(minimum=1)(np.zeros(4, int), 2, Scripted(*shares))) == [[0, 1, 2], [3]]
    assert lists(Dirichlet(minimum=0)(np.zeros(4, int), 2, Scripted(*shares))) == [[0, 1, 2, 3], []]


def test_dirichlet_alpha_sets_the_skew():
    def skew(alpha):
        counts = histogram(TEN_CLASSES, deal(Dirichlet(alpha, minimum=0), TEN_CLASSES, 10), 10)
        return counts.max(axis=0).mean()  # of 40 samples a class, the most that one client holds

    assert skew(0.01) > 32
    assert 10 < skew(0.5) < 30
    assert skew(1000) < 7


@pytest.mark.parametrize(
    ("alpha", "minimum", "clients"), [(0.5, 41, 10), (0.001, 1, 100)], ids=["impossible", "improbable"]
)
def test_dirichlet_refuses_a_minimum_out_of_reach(alpha, minimum, clients):
    with pytest.raises(Mistake) as refusal:
        deal(Dirichlet(alpha, minimum), TEN_CLASSES, clients)
    assert str(refusal.value) == (
        f"partition dirichlet: no draw gives {clients} clients at least {minimum} of 400 samples "
        f"at alpha {alpha}; raise partition.alpha, lower partition.minimum or use fewer clients"
    )


@pytest.mark.parametrize("entry", [Dirichlet, BySize])
@pytest.mark.parametrize("alpha", [1e308, float("inf")])
def test_refuses_an_alpha_that_overflows(entry, alpha):
    with pytest.raises(Mistake, match=re.escape(f"partition.alpha: {alpha} overflows; 1e6 is as good as")):
        deal(entry(alpha), TEN_CLASSES, 4)


@pytest.mark.parametrize("entry", [Dirichlet, BySize])
@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_refuses_an_alpha_that_is_not_positive(entry, alpha):
    with pytest.raises(Mistake, match=r"\.alpha: .* is out of range; must be greater than 0$"):
        entry(alpha)


def test_shards_by_hand():
    # Sorted by label: 1 3 5 | 0 2 4, cut into 1 3, 5 0, 2 4; the scripted deal is in order.
    parts = Shards(labels_per_client=1)(np.array([1, 0, 1, 0, 1, 0]), 3, Scripted())
    assert lists(parts) == [[1, 3], [0, 5], [2, 4]]
    # Four shards, two a client: 1 3 | 5 0 with 2, 4 left over for the last two shards.
    parts = Shards(labels_per_client=2)(np.array([1, 0, 1, 0, 1, 0]), 2, Scripted())
    assert lists(parts) == [[0, 1, 3, 5], [2, 4]]


@pytest.mark.parametrize("labels_per_client", [1, 2, 5])
def test_shards_bound_the_labels_a_client_holds(labels_per_client):
    parts = deal(Shards(labels_per_client), TEN_CLASSES, 20)
    counts = histogram(TEN_CLASSES, parts, 10)
    assert (counts > 0).sum(axis=1).max() == labels_per_client
    assert (counts.sum(axis=1) == 20).all()


def test_shards_refuse_more_shards_than_samples():
    with pytest.raises(Mistake) as refusal:
        deal(Shards(3), np.zeros(10, int), 4)
    assert str(refusal.value) == (
        "partition shards: 4 clients with 3 shards each need 12 samples, but there are 10; "
        "lower partition.labels_per_client or use fewer clients"
    )


def test_one_label_by_hand():
    # Label 3 occurs eight times, label 7 twice: of five clients, 3 gets four (8/3 > 2/1), 7 one.
    parts = OneLabel()(np.array([3, 3, 7, 3, 3, 3, 7, 3, 3, 3]), 5, Scripted())
    assert lists(parts) == [[0, 1], [3, 4], [5, 7], [8, 9], [2, 6]]


@settings(deadline=None, max_examples=60)
@given(labels=st.lists(st.integers(0, 5), min_size=6, max_size=60), data=st.data())
def test_one_label_holds_whatever_the_sizes(labels, data):
    clients = data.draw(st.integers(len(set(labels)), len(labels)))
    counts = histogram(np.array(labels), deal(OneLabel(), labels, clients), 6)
    assert ((counts > 0).sum(axis=1) == 1).all()


def test_one_label_refuses_fewer_clients_than_labels():
    with pytest.raises(Mistake) as refusal:
        deal(OneLabel(), TEN_CLASSES, 9)
    assert str(refusal.value) == (
        "partition one_label: 9 clients cannot hold 10 labels one each; use at least 10 clients"
    )


def test_by_size_by_hand():
    # One each, and of the other six 0, 1.5 and 4.5: cut at 0 and 1.
    assert lists(BySize()(np.zeros(9, int), 3, Scripted([0.0, 0.25, 0.75]))) == [
        [0],
        [1, 2],
        [3, 4, 5, 6, 7, 8],
    ]


def test_by_size_alpha_sets_the_skew_of_sizes_only():
    equal, unequal = (deal(BySize(alpha), TEN_CLASSES, 10) for alpha in (1e6, 0.1))
    assert max(map(len, equal)) - min(map(len, equal)) <= 2
    assert max(map(len, unequal)) > 120
    largest = max(unequal, key=len)
    assert histogram(TEN_CLASSES, [largest], 10).min() > len(largest) / 20
