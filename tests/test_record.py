"""Recording notes what a learner's code does, whatever that is, and leaves no trace of it."""

from __future__ import annotations

import _thread
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dropout_course.checks.isolation import PRINT_LIMIT
from dropout_course.checks.plan import Call, Construct, GeneratorSeed, Other, Plan, Step, Take
from dropout_course.checks.record import Observation, Record, record

X = torch.arange(1.0, 7.0).reshape(2, 3)


def steps(*these: Step) -> Plan:
    return Plan("f", these)


def called(target: Any, *args: Any, limit: float = 60.0, **options: Any) -> Observation:
    """Record one call of `target` and return what was observed."""
    return record(steps(Call("call", args or (X,), **options)), target, limit=limit)["call"]


# What came back.


def test_a_tensor_is_copied_so_that_later_changes_do_not_show() -> None:
    kept = []

    def f(x: Tensor) -> Tensor:
        kept.append(x * 2)
        for earlier in kept[:-1]:
            earlier.zero_()
        return kept[-1]

    seen = record(steps(Call("first", (X,)), Call("second", (X,))), f)
    assert torch.equal(seen["first"].value, X * 2)


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.5, "text", (1, None), {"a": 1, "b": {"c": (2.0,)}}],
)
def test_plain_data_comes_back_as_it_is(value: object) -> None:
    assert called(lambda x: value).value == value


@pytest.mark.parametrize("value", [[1], {1: 2}, {1, 2}, object(), torch.float32, lambda: None])
def test_what_is_no_data_is_named_by_its_type(value: object) -> None:
    found = called(lambda x: value).value
    assert isinstance(found, Other)
    assert found.type_name == type(value).__name__


def test_a_sparse_tensor_is_no_data() -> None:
    assert isinstance(called(lambda x: x.to_sparse()).value, Other)


def test_a_value_with_a_broken_repr_is_noted_all_the_same() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert called(lambda x: Odd()).value == Other("Odd", "…")


def test_a_value_exercise_is_taken_as_it_is() -> None:
    plan = steps(Take("answer"))
    assert record(plan, {"a": True})["answer"].value == {"a": True}


def test_repeated_calls_are_stacked() -> None:
    seen = called(lambda x: x + torch.rand(()), repeats=3, seed=1)
    assert isinstance(seen.value, Tensor)
    assert seen.value.shape == (3, *X.shape)
    assert len(set(seen.value[:, 0, 0].tolist())) == 3


# Never raises.


class OutOfReach(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(1), NotImplementedError(), OutOfReach(), GeneratorExit()]
)
def test_whatever_is_raised_is_noted(error: BaseException) -> None:
    def f(x: Tensor) -> Tensor:
        raise error

    seen = called(f).error
    assert seen is not None
    assert seen.type_name == type(error).__name__


def test_exit_and_quit_are_noted() -> None:
    assert called(lambda x: sys.exit()).error is not None
    assert called(lambda x: exit()).error is not None


@pytest.mark.parametrize("target", [None, 3, "f", lambda: None, [], nn.Linear])
def test_what_cannot_be_called_so_is_noted(target: object) -> None:
    error = called(target).error
    assert error is not None
    assert error.type_name == "TypeError"


class Unfinished(nn.Module):
    """Forgets super().__init__()."""

    def __init__(self) -> None:
        self.p = 0.5

    def forward(self, x: Tensor) -> Tensor:
        return x


class Moody(nn.Module):
    def train(self, mode: bool = True) -> nn.Module:
        raise OutOfReach

    def state_dict(self, *_: Any, **__: Any) -> Any:
        raise OutOfReach

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("module", [Unfinished, Moody])
def test_a_module_that_cannot_be_switched_is_noted(module: type[nn.Module]) -> None:
    plan = steps(Construct("made"), Call("call", (X,), instance="made", training=True))
    assert record(plan, module)["call"].error is not None


def test_a_class_that_cannot_be_made_fails_its_calls_too() -> None:
    class Refuses:
        def __init__(self, p: float) -> None:
            if p > 1:
                raise ValueError("p")

    plan = steps(
        Construct("good", (0.5,)), Construct("bad", (2.0,)), Call("call", (X,), instance="bad")
    )
    seen = record(plan, Refuses)
    assert seen["good"].error is None
    assert seen["call"].error == seen["bad"].error
    assert seen["call"].error is not None


def test_an_exception_that_cannot_be_printed_is_noted() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def f(x: Tensor) -> Tensor:
        raise Mute

    assert called(f).error is not None


def test_a_backward_pass_that_raises_is_noted() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *grad: Any) -> Any:
            raise ZeroDivisionError

    seen = called(Broken.apply, upstream=torch.ones_like(X))
    assert seen.gradient_error is not None
    assert seen.gradients is None


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.resize_(0),
        lambda x: x.set_(),
        lambda x: setattr(x, "data", x.double()),
        lambda x: x.t_(),
    ],
)
def test_an_input_that_changed_its_kind_is_noted(change: Callable[[Tensor], object]) -> None:
    def f(x: Tensor) -> None:
        change(x)

    seen = called(f)
    assert seen.error is not None or seen.inputs_changed


def test_nothing_more_is_asked_of_code_that_only_raises() -> None:
    calls = []

    def f(x: Tensor) -> None:
        calls.append(x)
        raise ValueError

    record(steps(*(Call(f"call_{i}", (X,)) for i in range(20))), f)
    assert len(calls) < 10


# Where an error comes from.


def test_an_error_is_told_by_the_learners_own_line() -> None:
    def f(x: Tensor) -> Tensor:
        y = x * 2
        return y.reshape(5)

    error = called(f).error
    assert error is not None
    assert error.line == "return y.reshape(5)"
    assert error.line_number == f.__code__.co_firstlineno + 2


def test_an_error_below_the_learners_line_is_not_their_own_raise() -> None:
    def raises(x: Tensor) -> Tensor:
        raise NotImplementedError

    def library_raises(x: Tensor) -> Tensor:
        return F.interpolate(x, 2)

    own, below = called(raises).error, called(library_raises).error
    assert own is not None
    assert own.in_own_code
    assert below is not None
    assert not below.in_own_code
    assert below.line == "return F.interpolate(x, 2)"


def test_an_error_of_the_call_itself_has_no_line() -> None:
    error = called(lambda: None).error
    assert error is not None
    assert error.line == ""


def test_a_long_message_is_shortened_to_one_line() -> None:
    def f(x: Tensor) -> Tensor:
        raise ValueError("one\ntwo " * 1000)

    error = called(f).error
    assert error is not None
    assert len(error.message) <= 300
    assert "\n" not in error.message


# Calls of the library's own dropout.


def scripted(x: Tensor) -> Tensor:
    return F.dropout(x, 0.5)


def attention(x: Tensor) -> Tensor:
    q = x.reshape(1, 1, 2, 3)
    return F.scaled_dot_product_attention(q, q, q, dropout_p=0.5).reshape(2, 3)


def disabled(x: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        return torch.dropout(x, 0.5, True)


REACHED: dict[str, Callable[[Tensor], Tensor]] = {
    "F.dropout": lambda x: F.dropout(x, 0.5),
    "F.dropout in place": lambda x: F.dropout(x.clone(), 0.5, inplace=True),
    "torch.dropout": lambda x: torch.dropout(x, 0.5, True),
    "torch.dropout_": lambda x: torch.dropout_(x.clone(), 0.5, True),
    "nn.Dropout": lambda x: nn.Dropout(0.5)(x),
    "native_dropout": lambda x: torch.native_dropout(x, 0.5, True)[0],
    "torch.ops": lambda x: torch.ops.aten.dropout(x, 0.5, True),
    "torch.ops native": lambda x: torch.ops.aten.native_dropout.default(x, 0.5, True)[0],
    "torch._C": lambda x: torch._C._VariableFunctions.dropout(x, 0.5, True),
    "feature dropout": lambda x: torch.feature_dropout(x, 0.5, True),
    "alpha dropout": lambda x: F.alpha_dropout(x, 0.5, training=True),
    "dropout1d": lambda x: F.dropout1d(x, 0.5),
    "a scripted function": torch.jit.script(scripted),
    "torch function disabled": disabled,
    "attention": attention,
    "a dropout of ones": lambda x: x * F.dropout(torch.ones(2, 3), 0.5),
    "under no_grad": lambda x: torch.no_grad()(scripted)(x),
    "by vmap": lambda x: torch.vmap(lambda row: F.dropout(row, 0.5), randomness="different")(x),
    "at inference": lambda x: F.dropout(x, 0.5, training=False),
}


@pytest.mark.parametrize("way", REACHED)
@pytest.mark.filterwarnings("ignore")
def test_the_librarys_own_dropout_is_noted_however_it_is_reached(way: str) -> None:
    seen = called(REACHED[way])
    assert seen.error is None
    assert seen.library_calls


def test_it_is_noted_before_an_error_too() -> None:
    def f(x: Tensor) -> Tensor:
        F.dropout(x)
        raise ValueError

    assert called(f).library_calls


@pytest.mark.parametrize(
    "own",
    [
        lambda x: x * (torch.rand(x.shape) < 0.5),
        lambda x: torch.where(torch.rand_like(x) < 0.5, x, 0),
        lambda x: x.masked_fill(torch.rand_like(x) < 0.5, 0),
        lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
        lambda x: x * torch.distributions.Bernoulli(0.5).sample(x.shape),
    ],
)
def test_own_dropout_is_no_call_of_the_library(own: Callable[[Tensor], Tensor]) -> None:
    assert called(own).library_calls == ()


# Random numbers.


def test_seeded_calls_repeat_and_others_carry_on() -> None:
    plan = steps(
        Call("a", (X,), seed=3), Call("on", (X,)), Call("again", (X,), seed=3), Call("on_2", (X,))
    )
    seen = record(plan, torch.rand_like)
    assert torch.equal(seen["a"].value, seen["again"].value)
    assert torch.equal(seen["on"].value, seen["on_2"].value)
    assert not torch.equal(seen["a"].value, seen["on"].value)


def test_which_generator_moved_is_noted() -> None:
    assert not called(lambda x: x).generator_moved
    drawn = called(torch.rand_like, seed=1)
    assert drawn.generator_moved
    assert not drawn.reseeded
    assert called(lambda x: np.random.rand()).other_generators == ("numpy.random",)
    assert called(lambda x: random.random()).other_generators == ("random",)


def test_a_reset_seed_is_noted() -> None:
    assert called(lambda x: torch.manual_seed(0) and None, seed=5).reseeded


def test_a_given_generator_is_fresh_and_its_use_is_noted() -> None:
    def f(generator: torch.Generator) -> Tensor:
        return torch.rand(3, generator=generator)

    seed = GeneratorSeed(4)
    seen = record(steps(Call("a", (seed,)), Call("b", (seed,))), f)
    assert torch.equal(seen["a"].value, seen["b"].value)
    assert seen["a"].given_generator_moved
    assert not seen["a"].generator_moved
    assert not called(lambda generator: 1, seed).given_generator_moved


# Inputs and gradients.


def test_inputs_are_copies_and_a_change_is_noted() -> None:
    given = X.clone()
    assert called(lambda x: x.mul_(2), given).inputs_changed
    assert torch.equal(given, X)
    assert not called(lambda x: x * 2, given).inputs_changed


def test_a_change_of_a_keyword_argument_is_noted() -> None:
    plan = steps(Call("call", (), {"x": X, "mask": X}))
    assert record(plan, lambda x, mask: mask.zero_())["call"].inputs_changed


def test_strides_are_kept() -> None:
    strides = []

    def f(x: Tensor) -> Tensor:
        strides.append(x.stride())
        return x

    called(f, X.T)
    assert strides == [X.T.stride()]


def test_gradients_come_back_for_each_floating_argument() -> None:
    upstream = torch.full_like(X, 3.0)
    plan = steps(Call("call", (X, X.long(), X), upstream=upstream))
    seen = record(plan, lambda a, b, c: a * b)["call"]
    assert seen.differentiable
    assert seen.gradients is not None
    first, second = seen.gradients
    assert torch.equal(first, X * 3)
    assert second is None


def test_a_detached_result_has_no_gradient() -> None:
    seen = called(lambda x: x.detach() * 2, upstream=torch.ones_like(X))
    assert not seen.differentiable
    assert seen.gradients is None


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.weight = nn.Parameter(x)
        return x


def test_what_a_module_keeps_is_noted_after_each_step() -> None:
    plan = steps(Construct("made"), Call("call", (X,), instance="made"))
    seen = record(plan, Stateful)
    assert seen["made"].state == ("mask",)
    assert set(seen["call"].state) == {"mask", "weight"}


@pytest.mark.parametrize("training", [True, False])
def test_a_module_is_switched_as_a_part_of_a_model(training: bool) -> None:
    class Tells(nn.Module):
        def forward(self, x: Tensor) -> bool:
            return self.training

    plan = steps(Construct("made"), Call("call", (X,), instance="made", training=training))
    assert record(plan, Tells)["call"].value is training


# No traces.


def state() -> dict[str, object]:
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warnings": list(warnings.filters),
        "stdout": sys.stdout,
        "stderr": sys.stderr,
        "tracing": sys.gettrace(),
    }


def upset(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    torch.rand(3)
    np.random.seed(0)
    random.seed(0)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)
    torch.use_deterministic_algorithms(True)
    warnings.simplefilter("error")
    return x


def upset_and_raise(x: Tensor) -> Tensor:
    upset(x)
    raise ValueError


def upset_and_hang(x: Tensor) -> Tensor:
    upset(x)
    while True:
        time.sleep(0.01)


@pytest.fixture
def undisturbed() -> Iterator[None]:
    before = state()
    yield
    assert state() == before


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("target", [upset, upset_and_raise])
def test_random_states_and_modes_are_left_as_they_were(target: Callable[..., Any]) -> None:
    called(target)


@pytest.mark.usefixtures("undisturbed")
def test_they_are_restored_after_the_time_limit_too() -> None:
    called_out = record(steps(Call("call", (X,))), upset_and_hang, limit=0.2)
    assert called_out.timed_out


def test_gradients_are_on_while_recording_even_under_no_grad() -> None:
    with torch.no_grad():
        seen = called(lambda x: x * 2, upstream=torch.ones_like(X))
        assert not torch.is_grad_enabled()
    assert seen.differentiable


def test_warnings_of_the_learners_code_are_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    called(lambda x: warnings.warn("odd", stacklevel=1))
    assert len(recwarn) == 0


def test_what_is_printed_is_kept_up_to_a_limit(capfd: pytest.CaptureFixture[str]) -> None:
    def f(x: Tensor) -> None:
        for i in range(5_000):
            print("line", i)
        print("to stderr", file=sys.stderr)

    seen: Record = record(steps(Call("call", (X,))), f)
    assert seen.printed.startswith("line 0\nline 1\n")
    assert len(seen.printed) == PRINT_LIMIT
    assert seen.printed_lines == 5_001
    assert capfd.readouterr() == ("", "")


# The time limit and the person's own interrupt.


def loops(x: Tensor) -> None:
    while True:
        pass


def sleeps(x: Tensor) -> None:
    time.sleep(60)


def swallows_exceptions(x: Tensor) -> None:
    while True:
        try:
            sum(range(1000))
        except Exception:  # noqa: BLE001 - as a learner writes it
            continue


def swallows_everything(x: Tensor) -> None:
    while True:
        try:
            i = 0
            while True:
                i += 1
        except:  # noqa: E722 - as a learner writes it
            pass


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("target", [loops, sleeps, swallows_exceptions, swallows_everything])
def test_code_that_never_ends_is_stopped(target: Callable[..., Any]) -> None:
    plan = steps(Call("quick", (1,)), Call("call", (X,)), Call("after", (X,)))

    def f(x: object) -> object:
        return target(x) if isinstance(x, Tensor) else x

    seen = record(plan, f, limit=0.1)
    assert seen.timed_out
    assert list(seen.observations) == ["quick"]


def test_a_quick_call_leaves_no_alarm_behind() -> None:
    called(lambda x: x, limit=0.1)
    time.sleep(0.2)


def test_a_persons_interrupt_passes_through_with_everything_restored() -> None:
    before = state()

    def f(x: Tensor) -> None:
        upset(x)
        _thread.interrupt_main()
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        called(f)
    assert state() == before


def test_recording_works_outside_the_main_thread() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(called(lambda x: x * 2)))
    thread.start()
    thread.join()
    assert torch.equal(found[0].value, X * 2)
