"""Runs a plan on a learner's code and notes what happened. Decides nothing.

The only module that calls a learner's code. It never raises for what that code does, and it leaves
random states, modes and inputs as it found them.
"""

from __future__ import annotations

import contextlib
import linecache
import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dropout_course.checks.elsewhere import Elsewhere, ElsewhereTensor
from dropout_course.checks.isolation import (
    TimeLimitReached,
    captured_output,
    exit_raises,
    restored_state,
    time_limit,
)
from dropout_course.checks.layers import build
from dropout_course.checks.plan import (
    BuiltModule,
    Call,
    Construct,
    GeneratorSeed,
    ModuleState,
    OnAnotherDevice,
    Other,
    Plan,
    Step,
    Value,
)

_autograd: Any = torch.autograd  # its profiler's parts are not declared for type checkers
TIME_LIMIT = 10.0  # seconds for a whole plan
GIVE_UP = 4  # steps: where so many raise at the beginning, the others would too
_PACKAGE = Path(__file__).resolve().parents[1]
_TORCH = Path(torch.__file__).resolve().parent


@dataclass(frozen=True)
class LearnerError:
    """An exception that a learner's code raised, with the innermost line of theirs.

    `in_own_code` is true where that line itself raised, false where a library below it did.
    """

    type_name: str
    message: str
    line_number: int = 0
    line: str = ""
    in_own_code: bool = False


@dataclass(frozen=True)
class Observation:
    """What one step did.

    `gradients` has one entry for each floating-point tensor among the arguments, None where no
    gradient came back; it is None itself where none was asked for. `state` lists the names in a
    module's parameters, buffers and `state_dict` after the step, `in_training` its mode.

    Of a module among the arguments: `module_changes` are paths of what was different after the
    call ("1.training" is a submodule's mode, "0.weight" a parameter or buffer),
    `saved_for_backward` says that the call kept something for a backward pass, `shares_memory` that
    what came back lies in the module's memory. `grad_mode_changed`: gradients were (not) recorded
    afterwards, and had (not) been before.
    """

    name: str
    value: Value = None
    error: LearnerError | None = None
    differentiable: bool = False
    gradients: tuple[Tensor | None, ...] | None = None
    gradient_error: LearnerError | None = None
    inputs_changed: bool = False
    generator_moved: bool = False
    reseeded: bool = False
    given_generator_moved: bool = False
    other_generators: tuple[str, ...] = ()
    library_calls: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    in_training: bool = False
    module_changes: tuple[str, ...] = ()
    saved_for_backward: bool = False
    shares_memory: bool = False
    grad_mode_changed: bool = False


@dataclass(frozen=True)
class Record:
    """What a plan's steps did, by name. A step that was not reached is missing.

    `printed` is the beginning of what was printed, `printed_lines` the number of all its lines.
    """

    exercise: str
    observations: Mapping[str, Observation]
    printed: str = ""
    printed_lines: int = 0
    timed_out: bool = False

    def __getitem__(self, name: str) -> Observation:
        return self.observations[name]

    def get(self, name: str) -> Observation | None:
        return self.observations.get(name)


def record(plan: Plan, target: object, *, limit: float = TIME_LIMIT) -> Record:
    """Run `plan` on `target`, a function, a class or a value, within `limit` seconds.

    Ends early where the first steps raise one and all (nothing more is to be learned) and at the
    time limit. A `KeyboardInterrupt` is the person's own and passes through, state restored.
    """
    session = _Session(target)
    timed_out = False
    with restored_state(), captured_output() as output, exit_raises():
        try:
            with time_limit(limit):
                session.run(plan)
        except TimeLimitReached:
            timed_out = True
    return Record(
        exercise=plan.exercise,
        observations=session.observations,
        printed=output.text,
        printed_lines=output.lines,
        timed_out=timed_out,
    )


@dataclass
class _Session:
    """The state of one recording: the instances made so far and what was observed."""

    target: Any
    observations: dict[str, Observation] = field(default_factory=dict)
    instances: dict[str, Any] = field(default_factory=dict)

    def run(self, plan: Plan) -> None:
        for step in plan:
            self.observations[step.name] = self.attempt(step)
            seen = self.observations.values()
            if len(seen) == GIVE_UP and all(one.error is not None for one in seen):
                return

    def attempt(self, step: Step) -> Observation:
        """Observe a step; note whatever escapes, from wherever a learner's code runs."""
        try:
            return self.observe(step)
        except (KeyboardInterrupt, TimeLimitReached):
            raise
        except BaseException as error:
            return Observation(step.name, error=learner_error(error))

    def observe(self, step: Step) -> Observation:
        if isinstance(step, Construct):
            return self.construct(step)
        if isinstance(step, Call):
            return self.call(step)
        return Observation(step.name, value=_as_value(self.target))

    def construct(self, step: Construct) -> Observation:
        try:
            instance = self.target(*step.args, **step.kwargs)
        except (Exception, SystemExit) as error:
            return Observation(step.name, error=learner_error(error))
        state = _state(instance)
        if step.state is not None:
            try:
                instance.load_state_dict(step.state)
            except (Exception, SystemExit) as error:
                return Observation(step.name, error=learner_error(error), state=state)
        self.instances[step.name] = instance
        return Observation(step.name, value=_as_value(instance), state=state)

    def call(self, step: Call) -> Observation:
        function = self.target
        if step.instance is not None:
            if step.instance not in self.instances:
                return self.observations[step.instance]
            function = self.instances[step.instance]
            if step.training is not None:
                try:
                    if step.switches_itself:
                        function = function.train() if step.training else function.eval()
                    else:
                        _set_mode(function, step.training)
                except (Exception, SystemExit) as error:
                    return Observation(step.name, error=learner_error(error))
        return _observe_call(step, function)


def _observe_call(step: Call, function: Callable[..., Any]) -> Observation:
    wants_gradient = step.upstream is not None
    args = tuple(_materialise(value, wants_gradient) for value in step.args)
    kwargs = {key: _materialise(value, wants_gradient) for key, value in step.kwargs.items()}
    generators = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.Generator)]
    watched = _Modules([v for v in (*args, *kwargs.values()) if isinstance(v, nn.Module)])
    if step.seed is not None:
        # What torch.manual_seed does on the CPU; it would also queue work for accelerators.
        torch.default_generator.manual_seed(step.seed)
        torch.rand(step.drawn)
    before = _RandomStates(generators)
    error = None
    result: Any = None
    library = _LibraryCalls()
    torch.set_grad_enabled(step.records_gradients)
    try:
        with library, _device_of(args), watched:
            result = _repeat(function, args, kwargs, step.repeats)
    except (Exception, SystemExit) as raised:
        error = learner_error(raised)
    grad_mode_changed = torch.is_grad_enabled() is not step.records_gradients
    torch.set_grad_enabled(True)
    moved = before.compare()
    given = (*step.args, *step.kwargs.values())
    passed = (*args, *kwargs.values())
    gradients, gradient_error = _gradients(result, step.upstream, passed)
    return Observation(
        step.name,
        value=_as_value(result),
        error=error,
        differentiable=isinstance(result, Tensor) and result.requires_grad,
        gradients=gradients,
        gradient_error=gradient_error,
        inputs_changed=any(_differs(a, b) for a, b in zip(given, passed, strict=True)),
        generator_moved=moved.torch,
        reseeded=moved.reseeded,
        given_generator_moved=moved.given,
        other_generators=moved.others,
        library_calls=library.dropouts,
        state=_state(function),
        in_training=isinstance(function, nn.Module) and bool(function.training),
        module_changes=watched.changes(),
        saved_for_backward=watched.saved_for_backward,
        shares_memory=watched.share_memory_with(result),
        grad_mode_changed=grad_mode_changed,
    )


def _repeat(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], repeats: int
) -> Any:
    if repeats == 1:
        return function(*args, **kwargs)
    results = [function(*args, **kwargs) for _ in range(repeats)]
    same_shape = len({getattr(result, "shape", None) for result in results}) == 1
    if all(isinstance(result, Tensor) for result in results) and same_shape:
        return torch.stack([result.detach() for result in results])
    return results[-1]


def _materialise(value: Value, requires_grad: bool) -> Any:
    """Copy a plan's value into what the learner's code is given."""
    if isinstance(value, GeneratorSeed):
        return torch.Generator().manual_seed(value.seed)
    if isinstance(value, BuiltModule):
        return build(value)
    if isinstance(value, OnAnotherDevice):
        return ElsewhereTensor(value.tensor.clone())
    if isinstance(value, Tensor):
        # A copy with the same strides: a transposed input stays transposed.
        copy = torch.empty_like(value, memory_format=torch.preserve_format).copy_(value)
        return copy.requires_grad_(requires_grad and copy.is_floating_point())
    return value


def _device_of(args: tuple[Any, ...]) -> contextlib.AbstractContextManager[object]:
    if any(isinstance(value, ElsewhereTensor) for value in args):
        return Elsewhere()  # type: ignore[no-untyped-call]
    return contextlib.nullcontext()


def _differs(given: Value, passed: Any) -> bool:
    if isinstance(given, OnAnotherDevice):
        return _differs(given.tensor, passed.held)
    if not isinstance(given, Tensor):
        return False
    passed = passed.detach()
    same_kind = given.shape == passed.shape and given.dtype == passed.dtype
    return not (same_kind and torch.equal(given, passed))


def _as_value(result: Any) -> Value:
    """Turn what came back into data; what is no data becomes `Other`."""
    if isinstance(result, ElsewhereTensor):
        return OnAnotherDevice(result.held.detach())
    if isinstance(result, Tensor) and result.layout == torch.strided:
        # The learner may keep and later change what they returned: take a copy.
        return result.detach().clone() if result.numel() else result.detach()
    if result is None or isinstance(result, bool | int | float | str):
        return result
    if isinstance(result, Mapping) and all(isinstance(key, str) for key in result):
        return {key: _as_value(value) for key, value in result.items()}
    if isinstance(result, tuple):
        return tuple(_as_value(value) for value in result)
    if isinstance(result, nn.Module):
        return _module_state(result)
    return Other(type(result).__name__, _short_repr(result))


def _module_state(module: nn.Module) -> Value:
    kinds = (kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn."))
    try:
        tensors = {name: _as_value(tensor) for name, tensor in _tensors(module)}
    except (Exception, SystemExit):
        tensors = {}
    return ModuleState(
        tuple(kind.__name__ for kind in kinds),
        type(module).__name__,
        {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)},
    )


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _short_repr(value: Any, limit: int = 80) -> str:
    try:
        text = repr(value)
    except Exception:
        return "…"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _state(target: Any) -> tuple[str, ...]:
    if not isinstance(target, nn.Module):
        return ()
    try:
        named = [*target.state_dict(), *dict(target.named_parameters())]
        named += list(dict(target.named_buffers()))
    except (Exception, SystemExit):
        return ()
    return tuple(dict.fromkeys(named))


class _Modules:
    """Trusted modules among a call's arguments, as they stood before it and stand after it."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.saved_for_backward = False
        self._modules = modules
        self._before = [_snapshot(module) for module in modules]
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._note, lambda kept: kept)

    def __enter__(self) -> None:
        if self._modules:
            self._hooks.__enter__()

    def __exit__(self, *_: object) -> None:
        if self._modules:
            self._hooks.__exit__()

    def _note(self, kept: Tensor) -> Tensor:
        self.saved_for_backward = True
        return kept

    def changes(self) -> tuple[str, ...]:
        found = []
        for module, before in zip(self._modules, self._before, strict=True):
            after = _snapshot(module)
            names = dict.fromkeys((*before, *after))
            found += [name for name in names if not _same(before.get(name), after.get(name))]
        return tuple(found)

    def share_memory_with(self, result: Any) -> bool:
        own = {_place(tensor) for module in self._modules for _, tensor in _tensors(module)}
        given = [result] if isinstance(result, Tensor) else []
        if isinstance(result, nn.Module):
            given = [tensor for _, tensor in _tensors(result)]
        return bool(own) and any(_place(tensor) in own for tensor in given if tensor.numel())


def _snapshot(module: nn.Module) -> dict[str, bool | Tensor]:
    """Modes, parameters and buffers by path; whether a parameter is trained, too."""
    seen: dict[str, bool | Tensor] = {}
    for path, part in module.named_modules():
        seen[f"{path}.training".removeprefix(".")] = part.training
    for path, tensor in _tensors(module):
        seen[path] = tensor.detach().clone()
        seen[f"{path}.requires_grad"] = tensor.requires_grad
    return seen


def _same(before: bool | Tensor | None, after: bool | Tensor | None) -> bool:
    if not (isinstance(before, Tensor) and isinstance(after, Tensor)):
        return before is after
    return before.dtype is after.dtype and torch.equal(before, after)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _set_mode(module: Any, training: bool) -> None:
    """Switch through a parent, as a model does: an own `eval` method is not what a model calls
    first, `train(mode)` is."""
    if isinstance(module, nn.Module):
        nn.ModuleList([module]).train(training)


def _gradients(
    result: Any, upstream: Tensor | None, passed: tuple[Any, ...]
) -> tuple[tuple[Tensor | None, ...] | None, LearnerError | None]:
    if upstream is None or not isinstance(result, Tensor) or not result.requires_grad:
        return None, None
    inputs = [value for value in passed if isinstance(value, Tensor) and value.requires_grad]
    if result.shape != upstream.shape:
        return None, None
    try:
        # A scalar's gradient: giving `upstream` to `grad` would import a symbolic algebra system.
        loss = (result * upstream.to(result.dtype)).sum()
        found = torch.autograd.grad(loss, inputs, allow_unused=True)
    except (Exception, SystemExit) as raised:
        return None, learner_error(raised)
    kept: tuple[Tensor | None, ...] = found  # an unused input has none
    return tuple(None if gradient is None else gradient.detach() for gradient in kept), None


@dataclass(frozen=True)
class _Moved:
    torch: bool
    reseeded: bool
    given: bool
    others: tuple[str, ...]


class _RandomStates:
    """The random generators a call may touch, as they stood before it."""

    def __init__(self, given: list[torch.Generator]) -> None:
        self._torch = torch.get_rng_state()
        self._seed = torch.initial_seed()
        self._numpy = _numpy_state()
        self._python = random.getstate()
        self._given = [(generator, generator.get_state()) for generator in given]

    def compare(self) -> _Moved:
        others = []
        if _numpy_state() != self._numpy:
            others.append("numpy.random")
        if random.getstate() != self._python:
            others.append("random")
        return _Moved(
            torch=not torch.equal(torch.get_rng_state(), self._torch),
            reseeded=torch.initial_seed() != self._seed,
            given=any(not torch.equal(g.get_state(), state) for g, state in self._given),
            others=tuple(others),
        )


def _numpy_state() -> tuple[bytes, int]:
    # Only the Mersenne Twister's words and position: what any draw changes.
    state: Any = np.random.get_state()
    return state[1].tobytes(), int(state[2])


class _LibraryCalls:
    """Notes which of torch's own dropout operators run, however they were reached.

    The autograd profiler sees the operators themselves: through `torch.nn.functional`, through
    modules, `torch.ops`, scripted code, and with `__torch_function__` disabled. A function mode or
    a dispatch mode misses some of these ways.
    """

    dropouts: tuple[str, ...] = ()

    def __enter__(self) -> _LibraryCalls:
        config = _autograd.ProfilerConfig(
            _autograd.ProfilerState.CPU,
            False,  # report_input_shapes
            False,  # profile_memory
            False,  # with_stack
            False,  # with_flops
            False,  # with_modules
            torch._C._profiler._ExperimentalConfig(),
        )
        _autograd._enable_profiler_legacy(config)
        return self

    def __exit__(self, *_: object) -> None:
        events = _autograd._disable_profiler_legacy()
        names = {event.name() for thread in events for event in thread}
        found = (n.removeprefix("aten::") for n in names if n.startswith("aten::") and "drop" in n)
        self.dropouts = tuple(sorted(found))


def learner_error(error: BaseException) -> LearnerError:
    """Reduce an exception to its type, message and the innermost line of the learner's own code."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [(frame, line) for frame, line in frames if _is_learners(frame.f_code.co_filename)]
    message = _short_message(error)
    if not own:
        return LearnerError(type(error).__name__, message)
    frame, line_number = own[-1]
    return LearnerError(
        type(error).__name__,
        message,
        line_number,
        linecache.getline(frame.f_code.co_filename, line_number, frame.f_globals).strip(),
        in_own_code=frame is frames[-1][0],
    )


def _short_message(error: BaseException, limit: int = 300) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:
        return ""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_learners(filename: str) -> bool:
    path = Path(filename)
    if "site-packages" in path.parts or filename.startswith("<frozen"):
        return False
    return not (path.is_relative_to(_PACKAGE) or path.is_relative_to(_TORCH))
