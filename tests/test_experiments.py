"""The measured evidence: data, training of many nets at once, the four ways, exact ensembles."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dropout_course.experiments import ensembles
from dropout_course.experiments.data import Splits, digits, wine, with_label_noise
from dropout_course.experiments.scaling import by_depth, logit_ratio
from dropout_course.experiments.training import (
    Nets,
    Settings,
    Way,
    initial,
    keep_mask,
    log_probs,
    logits,
    score,
    train,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_modules(nets: Nets, index: int) -> nn.Sequential:
    """One of the nets, built of torch's own modules, with inverted dropout."""
    layers: list[nn.Module] = []
    for linear, keep in zip(nets.linears(index), nets.settings.keep_probs(), strict=True):
        layers += [nn.Dropout(1 - keep), linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.fixture(scope="module")
def small() -> Splits:
    return digits(3, train=100)


# data


def test_a_split_uses_every_example_once() -> None:
    splits = digits(2, train=1000)
    assert splits.x_train.shape == (2, 1000, 64)
    assert splits.x_test.shape == (2, 797, 64)
    for seed in range(2):
        assert torch.cat([splits.y_train[seed], splits.y_test[seed]]).bincount().tolist() == [
            178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
        ]  # fmt: skip
    assert not torch.equal(splits.y_train[0], splits.y_train[1])
    assert splits.x_train.min() == 0
    assert splits.x_train.max() == 1


def test_wine_is_standardised_by_its_training_examples_alone() -> None:
    splits = wine(4)
    assert splits.x_test.shape == (4, 118, 13)
    assert splits.x_train.mean(dim=1).abs().max() < 1e-5
    assert (splits.x_train.std(dim=1) - 1).abs().max() < 1e-5
    assert splits.x_test.mean(dim=1).abs().max() > 1e-2


@pytest.mark.parametrize("size", [0, 178, 1000])
def test_a_training_set_of_an_impossible_size_is_a_sentence(size: int) -> None:
    with pytest.raises(ValueError, match="train on 1 to 177"):
        wine(1, train=size)


def test_no_seeds_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        digits(0)


def test_label_noise_replaces_a_share_of_the_training_labels_by_other_classes() -> None:
    splits = digits(10)
    noisy = with_label_noise(splits, 0.3)
    changed = (noisy.y_train != splits.y_train).float().mean()
    assert abs(changed - 0.3) < 0.03
    assert torch.equal(noisy.y_test, splits.y_test)
    assert torch.equal(with_label_noise(splits, 0.0).y_train, splits.y_train)


# training


def test_training_at_once_equals_training_one_after_the_other(small: Splits) -> None:
    """Full batches and no dropout leave nothing random but the initial weights."""
    settings = Settings(hidden=(16, 8), p=0.0, epochs=5, batch=100)
    nets = train(small.double(), settings, seed=1)
    start = initial(small.double(), settings, generator(1))
    for index in range(small.seeds):
        model = as_modules(start, index)
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
        for _ in range(settings.epochs):
            optimizer.zero_grad()
            x, y = small.x_train[index].double(), small.y_train[index]
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        expected = model(small.x_test[index].double())
        assert torch.allclose(logits(nets, small.double().x_test, Way.SCALED)[index], expected)


def test_the_same_seed_trains_the_same_nets_and_leaves_the_global_state_alone(
    small: Splits,
) -> None:
    settings = Settings(hidden=(16,), epochs=2)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second, other = (train(small, settings, seed=seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first.weights, second.weights))
    assert not torch.equal(first.weights[0], other.weights[0])
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert not any(weight.requires_grad for weight in first.weights)


def test_nets_of_one_training_have_masks_of_their_own(small: Splits) -> None:
    same = small.repeated(3)
    nets = train(same, Settings(hidden=(16,), epochs=1))
    alike = Nets(
        *(tuple(t[:1].expand(3, -1, -1) for t in ts) for ts in (nets.weights, nets.biases)),
        nets.settings,
    )
    out = logits(alike, same.x_test, Way.ONE_MASK)
    assert not torch.equal(out[0], out[1])


def test_dropout_epochs_turns_dropout_off_after_them(small: Splits) -> None:
    settings = Settings(hidden=(16,), epochs=3)
    off = replace(settings, p=0.0)
    never = train(small, replace(settings, dropout_epochs=0))
    assert all(map(torch.equal, logits_of(never, small), logits_of(train(small, off), small)))


def logits_of(nets: Nets, splits: Splits) -> tuple[torch.Tensor, ...]:
    return tuple(logits(nets, splits.x_test, Way.SCALED))


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_a_probability_that_is_none_is_a_sentence(p: float) -> None:
    with pytest.raises(ValueError, match="probability of dropping"):
        Settings(p=p)


@pytest.mark.parametrize("keep", [0.5, 0.25, 0.3, 1 / 256, 0.999])
def test_masks_keep_each_element_with_the_probability_asked_for(keep: float) -> None:
    n = 1_000_003  # no multiple of eight
    kept = keep_mask(torch.Size([n]), keep, generator()).double()
    assert abs(kept.mean() - keep) < 6 * (keep * (1 - keep) / n) ** 0.5
    pairs = (kept[:-1] * kept[1:]).mean()
    assert abs(pairs - keep**2) < 12 * (keep * (1 - keep) / n) ** 0.5


# predicting


def test_weight_scaling_equals_torch_in_eval_mode(small: Splits) -> None:
    nets = train(small, Settings(hidden=(16, 8), p_input=0.2, epochs=1))
    expected = as_modules(nets, 1).eval()(small.x_test[1])
    assert torch.allclose(logits(nets, small.x_test, Way.SCALED)[1], expected, atol=1e-6)


def test_inverted_dropout_has_no_scale_to_forget(small: Splits) -> None:
    nets = train(small, Settings(hidden=(16,), epochs=1))
    ways = (logits(nets, small.x_test, way) for way in (Way.SCALED, Way.UNSCALED))
    assert torch.equal(*ways)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_forgotten_scale_compounds_to_two_to_the_depth_without_biases(
    small: Splits, depth: int
) -> None:
    nets = initial(small, Settings(hidden=(32,) * depth, inverted=False), generator())
    ratio = logit_ratio(nets.without_biases(), small.x_test)
    assert torch.allclose(ratio, torch.full((3,), 2.0**depth))


def test_standard_and_inverted_dropout_drop_alike_and_differ_by_the_scale(small: Splits) -> None:
    standard = initial(small, Settings(hidden=(32,), p=0.25, inverted=False), generator())
    standard = standard.without_biases()
    inverted = Nets(standard.weights, standard.biases, replace(standard.settings, inverted=True))
    a, b = (logits(nets, small.x_test, Way.ONE_MASK) for nets in (standard, inverted))
    assert torch.allclose(a / 0.75, b, atol=1e-6)


def test_a_mean_of_masks_has_no_logits(small: Splits) -> None:
    nets = initial(small, Settings(hidden=(4,)), generator())
    with pytest.raises(ValueError, match="use log_probs"):
        logits(nets, small.x_test, Way.MEAN_OF_MASKS)


def test_scores_of_a_prediction_worked_out_by_hand() -> None:
    probabilities = torch.tensor([[[0.9, 0.1], [0.6, 0.4], [0.25, 0.75], [0.25, 0.75]]])
    result = score(probabilities.log(), torch.tensor([[0, 1, 1, 1]]))
    assert result.error.item() == pytest.approx(0.25)
    assert result.confidence.item() == pytest.approx(0.75)
    assert result.nll.item() == pytest.approx(
        -torch.tensor([0.9, 0.4, 0.75, 0.75]).log().mean().item()
    )
    assert result.calibration.item() == pytest.approx((0.1 + 0.6 + 0.25 + 0.25) / 4, abs=1e-6)


def test_the_table_by_depth_shows_what_lesson_04_says() -> None:
    rows = by_depth(digits(3), depths=(1, 3), masks=20)
    assert [row.depth for row in rows] == [1, 3]
    for row in rows:
        scores = row.scores
        assert abs(row.ratio.mean() / 2**row.depth - 1) < 0.1
        assert (row.ratio_without_biases / 2**row.depth - 1).abs().max() < 1e-4
        assert (scores[Way.ONE_MASK].error > scores[Way.SCALED].error).all()
        gap = scores[Way.UNSCALED].error - scores[Way.SCALED].error
        assert gap.mean().abs() < 0.01
    deep = rows[1].scores
    assert (deep[Way.UNSCALED].nll > 2 * deep[Way.SCALED].nll).all()
    assert (deep[Way.UNSCALED].calibration > deep[Way.SCALED].calibration).all()


# exact ensembles


@pytest.mark.parametrize("case", ensembles.CASES, ids=lambda case: case.name)
def test_weight_scaling_is_the_geometric_mean_exactly_where_it_should_be(
    case: ensembles.Case,
) -> None:
    nets, splits = ensembles.wine_nets(case, seeds=2)
    ensemble = ensembles.enumerate_masks(nets, splits.x_test)
    assert ensemble.masks in (2**12, 2**13)
    if case.exact:
        assert ensemble.geometric_gap.max() < 1e-13
    else:
        assert ensemble.geometric_gap.min() > 1e-2
    assert ensemble.arithmetic_gap.min() > 0.1
    for mean in (ensemble.arithmetic, ensemble.geometric, ensemble.weight_scaled):
        assert torch.allclose(mean.sum(dim=2), torch.ones(2, 118, dtype=torch.float64))


@pytest.mark.parametrize("inverted", [True, False])
def test_the_enumeration_equals_a_loop_over_masks(inverted: bool) -> None:
    splits = wine(1).double()
    settings = Settings(hidden=(3,), p=0.3, inverted=inverted)
    nets = initial(splits, settings, generator())
    x, arithmetic = splits.x_test[0], torch.zeros(118, 3, dtype=torch.float64)
    for mask in itertools.product((0, 1), repeat=3):
        h = (x @ nets.weights[0][0] + nets.biases[0][0]).relu() * torch.tensor(mask)
        h = h / 0.7 if inverted else h
        out = (h @ nets.weights[1][0] + nets.biases[1][0]).softmax(dim=1)
        arithmetic += 0.7 ** sum(mask) * 0.3 ** (3 - sum(mask)) * out
    ensemble = ensembles.enumerate_masks(nets, splits.x_test)
    assert torch.allclose(ensemble.arithmetic[0], arithmetic, atol=1e-12)


def test_sampling_masks_approaches_the_exact_arithmetic_mean() -> None:
    nets, splits = ensembles.wine_nets(ensembles.CASES[4])
    exact = ensembles.enumerate_masks(nets, splits.x_test).arithmetic
    sampled = log_probs(nets, splits.x_test, Way.MEAN_OF_MASKS, masks=2000).exp()
    assert (sampled - exact).abs().max() < 6 * 0.5 / 2000**0.5


@pytest.mark.parametrize("hidden", [(4,), (17,)])
def test_a_net_with_no_masks_or_too_many_is_a_sentence(hidden: tuple[int, ...]) -> None:
    p = 0.5 if hidden == (17,) else 0.0
    splits = wine(1)
    nets = initial(splits, Settings(hidden=hidden, p=p), generator())
    with pytest.raises(ValueError, match="enumerate 1 to 16"):
        ensembles.enumerate_masks(nets, splits.x_test)
