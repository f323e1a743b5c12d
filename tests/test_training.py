"""A client's work: its batches, its steps against plain torch, its buffers, its draws; and evaluation."""

from itertools import chain
from math import ceil, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedsim.config import TrainingSection
from fedsim.domain import Dataset
from fedsim.objectives.erm import Erm
from fedsim.seeds import stream, torch_stream
from fedsim.training import Descent, batches, evaluate, optimizer_for, train_client
from fedsim.vectors import FlatModule

steady = settings(deadline=None, derandomize=True, max_examples=80)
COUNT = st.integers(1, 40)
PATH = ("round", 3, "client", 1)


def drawn(samples, **training):
    return [batch.tolist() for batch in batches(samples, TrainingSection(**training), stream(0, "batches"))]


@steady
@given(COUNT, st.integers(1, 50), st.integers(1, 4))
def test_each_epoch_covers_every_sample_once(samples, batch_size, epochs):
    found = drawn(samples, epochs=epochs, batch_size=batch_size)
    size = min(samples, batch_size)
    per_epoch = ceil(samples / size)
    assert len(found) == epochs * per_epoch
    for epoch in range(epochs):
        taken = found[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert sorted(chain(*taken)) == list(range(samples))
        assert all(len(batch) == size for batch in taken[:-1])


@steady
@given(COUNT, st.integers(1, 50), st.integers(1, 30))
def test_steps_are_full_batches_and_no_sample_comes_again_before_all_came(samples, batch_size, steps):
    found = drawn(samples, steps=steps, batch_size=batch_size)
    assert [len(batch) for batch in found] == [min(samples, batch_size)] * steps
    order = list(chain(*found))
    for start in range(0, len(order), samples):
        seen = order[start : start + samples]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(range(samples))


class Counting:
    """A generator that counts the permutations it is asked for."""

    def __init__(self):
        self.rng, self.count = stream(0), 0

    def permutation(self, samples):
        self.count += 1
        return self.rng.permutation(samples)


@steady
@given(COUNT, st.integers(1, 50), st.integers(1, 30))
def test_steps_draw_no_more_permutations_than_they_use(samples, batch_size, steps):
    """Or what is left over grows from step to step."""
    rng = Counting()
    list(batches(samples, TrainingSection(steps=steps, batch_size=batch_size), rng))
    assert rng.count == ceil(steps * min(samples, batch_size) / samples)


def test_one_step_unless_told():
    assert len(drawn(10, batch_size=4)) == 1


def test_batches_are_shuffled_anew():
    first, second = drawn(30, epochs=2, batch_size=30)
    assert first != second
    assert first != list(range(30))


def points(samples=23, seed=0, wide=2):
    rng = stream(seed, "points")
    inputs = torch.from_numpy(rng.standard_normal((samples, wide)).astype(np.float32))
    return Dataset(inputs, torch.from_numpy(rng.integers(3, size=samples)), 3)


def made(kind):
    """The same initial network every time it is asked for."""
    with torch_stream(0, "net"):
        return kind()


def tanh_net():
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))


def norm_net():
    return nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 3))


def trained(kind, data, path=PATH, seed=0, **training):
    """One client's upload and loss, from the initial network."""
    model = FlatModule(made(kind))
    params = model.params
    model.memory.fill_(1e6)  # It is scratch space: what it holds must not matter.
    model.module.eval()
    return train_client(model, params, data, Erm(), TrainingSection(**training), seed, *path)


def linear_zero():
    module = nn.Linear(2, 2)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    return module


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_one_step_of_softmax_regression_by_hand(algorithm):
    # x = (1, 2), y = 0, logits (0, 0): gradient of W is ((-0.5, 0.5) outer x), of b (-0.5, 0.5)
    data = Dataset(torch.tensor([[1.0, 2.0]]), torch.tensor([0]), 2)
    upload, loss = trained(linear_zero, data, algorithm=algorithm, learning_rate=0.1)
    minus_gradient = [0.5, 1, -0.5, -1, 0.5, -0.5]
    step = 0.1 if algorithm == "fedavg" else 1
    assert upload.tolist() == pytest.approx([step * entry for entry in minus_gradient])
    assert loss == pytest.approx(log(2))


def plainly(kind, data, training, path=PATH, seed=0):
    """The same work on an ordinary module with torch.optim; gives its change, weights and then buffers."""
    module = made(kind)
    floats = [*module.parameters(), *(buffer for buffer in module.buffers() if buffer.is_floating_point())]
    before = torch.cat([tensor.detach().flatten().clone() for tensor in floats])
    if training.optimizer == "adam":
        optimizer = torch.optim.Adam(module.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            module.parameters(),
            lr=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )
    module.train()
    losses = []
    with torch_stream(seed, *path, "noise"):
        for indices in batches(len(data), training, stream(seed, *path, "batches")):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(data.inputs[indices]), data.labels[indices])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    after = torch.cat([tensor.detach().flatten() for tensor in floats])
    return after - before, sum(losses) / len(losses)


@pytest.mark.parametrize(
    "training",
    [
        {"steps": 7},
        {"epochs": 2},
        {"steps": 7, "momentum": 0.9},
        {"steps": 7, "weight_decay": 0.1},
        {"epochs": 2, "momentum": 0.5, "weight_decay": 0.01},
        {"steps": 7, "optimizer": "adam", "learning_rate": 0.01},
        {"steps": 7, "optimizer": "adam", "weight_decay": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [tanh_net, norm_net])
def test_equals_a_plain_loop(kind, training):
    upload, loss = trained(kind, points(), batch_size=5, **training)
    expected, expected_loss = plainly(kind, points(), TrainingSection(batch_size=5, **training))
    torch.testing.assert_close(upload, expected, rtol=1e-4, atol=1e-6)
    assert loss == pytest.approx(expected_loss, rel=1e-5)


def test_no_optimiser_state_outlives_the_round():
    model, training = FlatModule(made(tanh_net)), TrainingSection(steps=4, momentum=0.9)
    params = model.params
    first, _ = train_client(model, params, points(), Erm(), training, 0, *PATH)
    second, _ = train_client(model, params, points(), Erm(), training, 0, *PATH)
    assert torch.equal(first, second)


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_batch_norm_statistics_change_in_the_buffers_part(algorithm):
    # one batch of values 1 and 3: mean 2, variance 2; running values move a tenth of the way from (0, 1)
    data = Dataset(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1]), 2)
    kind = lambda: nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))  # noqa: E731
    upload, _ = trained(kind, data, algorithm=algorithm)
    assert len(upload) == 6 + 2, "the integer counter is no part of it"
    assert upload[6:].tolist() == pytest.approx([0.2, 0.1])


class FunctionalDropout(nn.Linear):
    """Draws without a Dropout module in sight."""

    def forward(self, inputs):
        return nn.functional.dropout(super().forward(inputs), 0.5, self.training)


@pytest.mark.parametrize("kind", [norm_net, lambda: FunctionalDropout(2, 3)])
def test_dropout_is_seeded_by_the_path_and_leaves_the_global_generator_alone(kind):
    def one(path=PATH, seed=0):
        return trained(kind, points(), path, seed, steps=1, batch_size=100)[0]

    torch.manual_seed(1)
    first, state = one(), torch.get_rng_state()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(one(), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(before, state)
    # The one batch holds all samples: what differs is the noise.
    assert not torch.allclose(one(path=("round", 4, "client", 1)), first, atol=1e-3)
    assert not torch.allclose(one(seed=1), first, atol=1e-3)


def test_a_client_without_samples_uploads_zeros():
    upload, loss = trained(norm_net, points().take(torch.tensor([], dtype=torch.int64)))
    assert upload.abs().max() == 0
    assert np.isnan(loss)


def test_leaves_parameters_and_data_untouched():
    model, data = FlatModule(made(tanh_net)), points()
    params, before = model.params, model.params
    train_client(model, params, data, Erm(), TrainingSection(steps=3), 0, *PATH)
    assert torch.equal(params, before)
    assert torch.equal(data.inputs, points().inputs)


@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_evaluates_as_a_plain_computation_in_evaluation_mode(batch_size):
    data, module = points(), made(norm_net)
    found = evaluate(FlatModule(made(norm_net)), FlatModule(module).params, data, batch_size)
    module.eval()
    scores = module(data.inputs).detach().double().numpy()
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = data.labels.numpy()
    right = scores.argmax(axis=1) == labels
    assert found.loss == pytest.approx(-np.log(chances[np.arange(23), labels]).mean(), rel=1e-5)
    assert found.accuracy == pytest.approx(right.mean())
    assert found.confidence == pytest.approx(chances[np.arange(23), labels].mean(), rel=1e-5)
    assert found.by_class == pytest.approx([right[labels == label].mean() for label in range(data.classes)])


def test_plain_descent_gives_the_bytes_of_torchs_sgd():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((3, 4), (4,), (2,))]
    ours, theirs = ([it.clone().requires_grad_() for it in start] for _ in range(2))
    for tensors, optimizer in ((ours, Descent(ours, 0.3)), (theirs, torch.optim.SGD(theirs, lr=0.3))):
        for _ in range(3):
            optimizer.zero_grad()
            # The last tensor takes no part, and stays.
            (tensors[0] @ tensors[1]).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
    assert not torch.equal(ours[0], start[0])
    assert torch.equal(ours[2], start[2])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({}, Descent), ({"momentum": 0.9}, torch.optim.SGD), ({"weight_decay": 0.1}, torch.optim.SGD)],
)
def test_only_plain_sgd_does_without_torchs(changes, kind):
    assert type(optimizer_for([torch.zeros(1)], TrainingSection(**changes))) is kind
