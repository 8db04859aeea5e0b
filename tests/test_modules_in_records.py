"""Modules as arguments and as answers: what is built, what is noted of them, how it is stored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dropout_course.checks.layers import LAYERS, build
from dropout_course.checks.plan import BuiltModule, Call, Construct, ModuleState, Plan, describe
from dropout_course.checks.record import Observation, record
from dropout_course.checks.store import decode, encode

NET = BuiltModule(
    (("linear", 4, 8), ("batch norm", 8), ("dropout", 0.5), ("linear", 8, 2)),
    "a net in train mode",
    seed=1,
)
LINEAR = BuiltModule((("linear", 3, 2),), "nn.Linear(3, 2)", name="linear")
X = torch.ones(5, 4)


def called(target: Callable[..., Any], *args: Any, **options: Any) -> Observation:
    plan = Plan("f", (Call("call", args or (NET, X), **options),))
    return record(plan, target)["call"]


# What is built.


def test_a_module_is_built_the_same_each_time_and_draws_from_nobody() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, second = build(NET), build(NET)
    assert torch.equal(torch.rand(1), expected)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])


def test_modes_and_state_are_as_asked() -> None:
    state = {"weight": torch.eye(2, 3), "bias": torch.zeros(2)}
    made = build(BuiltModule((("linear", 3, 2),), "", state=state))
    assert torch.equal(made(torch.ones(3)), torch.ones(2))
    frozen = build(BuiltModule(NET.layers, "", training=False, switched=("2",)))
    assert [module.training for module in frozen.modules()] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("layer", "in_train", "in_eval"),
    [
        (("dropout", 0.5), True, False),
        (("functional dropout", 0.5), True, False),
        (("functional dropout always", 0.5), True, True),
        (("attention dropout", 0.5), True, True),
        (("noise", 0.1), True, True),
        (("idle dropout", 0.5), False, False),
        (("gated dropout", 0.5), False, False),
        (("batch norm", 64), False, False),
        (("relu",), False, False),
        (("block", ("relu",), ("dropout", 0.5)), True, False),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_layer_is_random_in_the_modes_that_it_is_known_for(
    layer: tuple[Any, ...], in_train: bool, in_eval: bool
) -> None:
    x = torch.rand(2, 32, 64) if layer[0] == "attention dropout" else torch.rand(32, 64)
    for training, expected in ((True, in_train), (False, in_eval)):
        model = build(BuiltModule((layer,), "", training=training))
        assert torch.equal(model(x), model(x)) is not expected


def test_every_layer_is_tried_above_or_is_linear() -> None:
    tried = {"dropout", "functional dropout", "functional dropout always", "attention dropout"}
    tried |= {"noise", "idle dropout", "gated dropout", "batch norm", "relu", "block"}
    assert {name for name in LAYERS if "linear" not in name} == tried


# What is noted of an argument.


@pytest.mark.parametrize(
    ("change", "noted"),
    [
        (lambda model: None, ()),
        (lambda model: model.eval(), ("training", "0.training", "1.training", "2.training")),
        (lambda model: model[2].eval(), ("2.training",)),
        (lambda model: model[0].weight.data.zero_(), ("0.weight",)),
        (lambda model: model[1].running_mean.add_(1), ("1.running_mean",)),
        (lambda model: model[3].bias.requires_grad_(False), ("3.bias.requires_grad",)),
        (lambda model: model.register_buffer("new", torch.ones(1)), ("new",)),
        (lambda model: model.double(), ("0.weight", "0.bias")),
    ],
)
def test_a_changed_module_is_noted_by_path(
    change: Callable[[Any], object], noted: tuple[str, ...]
) -> None:
    seen = called(lambda model, x: change(model))
    assert set(noted) <= set(seen.module_changes)
    assert bool(seen.module_changes) is bool(noted)


def test_a_change_is_noted_after_an_error_too() -> None:
    seen = called(lambda model, x: model.eval()(x.T))
    assert seen.error is not None
    assert "training" in seen.module_changes


def test_a_copy_may_be_changed() -> None:
    assert called(lambda model, x: copy.deepcopy(model).eval()(x)).module_changes == ()


@pytest.mark.parametrize(
    ("target", "saved"),
    [
        (lambda model, x: model(x), True),
        (lambda model, x: model(x).detach(), True),
        (lambda model, x: torch.no_grad()(model)(x), False),
        (lambda model, x: torch.inference_mode()(model)(x), False),
    ],
)
def test_what_is_kept_for_a_backward_pass_is_noted(target: Callable[..., Any], saved: bool) -> None:
    seen = called(target)
    assert isinstance(seen.value, Tensor)
    assert seen.saved_for_backward is saved


def test_gradients_left_off_are_noted_and_do_not_stay_off() -> None:
    plan = Plan("f", (Call("first", (NET, X)), Call("second", (NET, X))))
    seen = record(plan, lambda model, x: torch.set_grad_enabled(False) and None)
    assert seen["first"].grad_mode_changed
    assert seen["second"].grad_mode_changed
    assert not called(lambda model, x: model(x)).grad_mode_changed
    assert called(lambda model, x: torch.is_grad_enabled(), records_gradients=False).value is False


def test_shared_memory_is_noted() -> None:
    def hands_the_bias_on(linear: nn.Linear) -> nn.Linear:
        made = nn.Linear(3, 2)
        made.bias = linear.bias
        return made

    assert called(hands_the_bias_on, LINEAR).shares_memory
    assert called(lambda linear: linear.weight.T, LINEAR).shares_memory
    assert not called(copy.deepcopy, LINEAR).shares_memory


def test_numbers_drawn_before_a_call_move_the_generator_off_its_seed() -> None:
    seen = called(lambda model, x: torch.manual_seed(torch.initial_seed()), seed=3, drawn=2)
    assert seen.generator_moved
    assert not seen.reseeded


# What comes back.


class Own(nn.Linear):
    pass


def test_a_module_that_comes_back_is_its_kinds_and_tensors() -> None:
    plan = Plan("f", (Call("call"),))
    seen = record(plan, lambda: Own(2, 3).double())["call"]
    assert isinstance(seen.value, ModuleState)
    assert seen.value.type_name == "Own"
    assert seen.value.kinds[0] == "Linear"
    assert {k: (v.dtype, tuple(v.shape)) for k, v in seen.value.tensors.items()} == {
        "weight": (torch.float64, (3, 2)),
        "bias": (torch.float64, (3,)),
    }


def test_modules_and_what_is_noted_of_them_are_stored() -> None:
    plan = Plan("f", (Call("call", (LINEAR,)), Call("off", (NET, X))))

    def target(model: nn.Module, x: Tensor | None = None) -> object:
        torch.set_grad_enabled(False)
        return model if x is None else model.eval()(x)

    seen = record(plan, target)
    found = decode(encode(seen))
    value, expected = found["call"].value, seen["call"].value
    assert isinstance(value, ModuleState)
    assert isinstance(expected, ModuleState)
    assert (value.kinds, value.type_name) == (expected.kinds, expected.type_name)
    assert torch.equal(value.tensors["weight"], expected.tensors["weight"])
    assert found["call"].shares_memory
    assert found["off"].module_changes == seen["off"].module_changes != ()
    assert found["off"].grad_mode_changed


# A learner's class.


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.first(x)
        return output


class Deaf(Net):
    def train(self, mode: bool = True) -> Any:
        super().train(mode)


def states(target: object, state: dict[str, Tensor], **options: Any) -> Any:
    steps = (
        Construct("made", state=state),
        Call("call", (torch.ones(2),), instance="made", **options),
    )
    return record(Plan("Net", steps), target)


def test_a_state_is_loaded_as_a_checkpoint() -> None:
    state = {"first.weight": torch.eye(2), "first.bias": torch.zeros(2)}
    assert torch.equal(states(Net, state)["call"].value, torch.ones(2))


def test_a_state_that_does_not_fit_is_an_error_with_the_names() -> None:
    seen = states(Net, {"other": torch.ones(1)})
    assert seen["made"].error is not None
    assert seen["made"].state == ("first.weight", "first.bias")


@pytest.mark.parametrize("training", [True, False])
def test_a_module_may_switch_itself(training: bool) -> None:
    state = dict(Net().state_dict())
    seen = states(Net, state, training=training, switches_itself=True)["call"]
    assert seen.in_training is training
    broken = states(Deaf, state, training=training, switches_itself=True)["call"]
    assert broken.error is not None
    assert "NoneType" in broken.error.message


def test_a_call_is_told_with_what_the_module_is() -> None:
    plan = Plan("f", (Call("call", (NET, X)), Call("fold", (LINEAR, 0.2), records_gradients=False)))
    assert (
        describe(plan, "call") == "f(model, x) with model = a net in train mode, x of shape [5, 4]"
    )
    assert describe(plan, "fold") == (
        "f(linear, 0.2) with linear = nn.Linear(3, 2), under torch.no_grad()"
    )
