"""Tags the outputs of a model's submodules while the model is traced, so that the traced program names them.

A tag is an operation that returns its input and has a name. Flax Linen and Haiku can intercept the calls of their
modules. For all other modules (NNX, Equinox, or any pytree that can be called) the class's `__call__` is replaced for
the time of the trace; in other threads the replacement does nothing.
"""

import contextlib
import functools
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir
from jax.tree_util import Partial, keystr, tree_flatten_with_path, tree_map_with_path


class Tag(NamedTuple):
    """The name of a value; its place in loops over layers, such as "[3]"; whether it has a derivative of its own."""

    name: str
    place: str = ""
    own_derivative: bool = False


# `jax.ad_checkpoint.checkpoint_name` is such an operation, but under `vmap` it leaves the batch where it happens to be
# (the last axis of an Equinox linear layer). This one moves the batch to the front.
tag_p = core.Primitive("tag")
tag_p.def_impl(lambda x, *, name: x)
tag_p.def_abstract_eval(lambda x, *, name: x)
mlir.register_lowering(tag_p, lambda ctx, x, *, name: [x])
ad.primitive_jvps[tag_p] = lambda primals, tangents, *, name: (tag_p.bind(*primals, name=name), *tangents)


def _batched(arrays: Any, axes: Any, *, name: Tag) -> tuple[Any, int]:
    return tag_p.bind(jnp.moveaxis(arrays[0], axes[0], 0), name=name), 0


batching.primitive_batchers[tag_p] = _batched


def tag_of(equation: Any) -> Tag | None:
    """The tag of a tagging operation, ours or `checkpoint_name`."""
    if equation.primitive is tag_p:
        return equation.params["name"]
    return Tag(equation.params["name"]) if equation.primitive.name == "name" else None


def _tagged(result: Any, name: str) -> Any:
    """The result of a call, with its arrays tagged; the names of several arrays include their paths in the result."""
    several = sum(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(result)) > 1

    def tagged(path: Any, leaf: Any) -> Any:
        label = f"{name}/{keystr(path, simple=True, separator='/')}" if several else name
        return tag_p.bind(leaf, name=Tag(label)) if isinstance(leaf, jax.Array) else leaf

    return tree_map_with_path(tagged, result) if name else result


# Part of JAX's own context, and so of the key of every jit cache: functions that are compiled inside of a model are
# traced again with tags.
_tagging = jax.make_user_context(None)
_modules: "ContextVar[_Modules | None]" = ContextVar("modules", default=None)


@contextlib.contextmanager
def tagging(model: Any) -> Iterator[None]:
    """While it lasts, the submodules of this model tag their outputs, in this thread."""
    modules = _Modules(model)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_tagging((jax.tree.structure(model),)))
        stack.enter_context(_calls_wrapped(modules.classes()))
        for framework, interceptor in (("flax.linen", _intercept_linen), ("haiku", _intercept_haiku)):
            if framework in sys.modules and _modules.get() is None:  # not a trace inside of a trace
                stack.enter_context(sys.modules[framework].intercept_methods(interceptor))
        token = _modules.set(modules)
        try:
            yield
        finally:
            _modules.reset(token)


def _intercept_linen(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    result = call(*args, **kwargs)
    return _tagged(result, "/".join(context.module.path)) if context.method_name == "__call__" else result


def _intercept_haiku(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    result = call(*args, **kwargs)
    return _tagged(result, context.module.module_name) if context.method_name == "__call__" else result


class _Modules:
    """The paths of a model's submodules: pytrees that can be called."""

    def __init__(self, model: Any):
        self._found: dict[int, tuple[Any, str]] = {}  # with the module itself, so that no other gets its id
        self._waiting: dict[type, list[str]] = defaultdict(list)  # paths of modules that have not been called
        self._called: dict[type, list[str]] = defaultdict(list)
        self._calling: list[tuple[Any, str]] = []
        for path, module in _submodules(model, None):
            self._found[id(module)] = module, path
            self._waiting[type(module)].append(path)

    def classes(self) -> set[type]:
        """The classes that define the modules' `__call__`."""
        return {next(cls for cls in kind.__mro__ if "__call__" in vars(cls)) for kind in self._waiting}

    def call(self, module: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        """The result of the module's call, tagged with its path."""
        if self._calling and self._calling[-1][0] is module:  # `super().__call__`
            return call(*args, **kwargs)
        path = self._path(module)
        self._calling.append((module, path))
        try:
            result = call(*args, **kwargs)
        finally:
            self._calling.pop()
        return _tagged(result, path)

    def _path(self, module: Any) -> str:
        """The module's path.

        Transformations (`nnx.scan`, `eqx.combine`, rematerialization) build a module again. It is the next one of its
        class that has not been called, inside of the module that calls it; where all have been, the last one.
        """
        kind = type(module)
        waiting, called = self._waiting[kind], self._called[kind]
        if id(module) not in self._found:
            outer = self._calling[-1][1] if self._calling else ""
            inside = f"{outer}/" if outer else ""
            path = next(
                (path for path in (*waiting, *reversed(called)) if path.startswith(inside)), inside + kind.__name__
            )
            for name, submodule in _submodules(module, path):
                self._found[id(submodule)] = submodule, name
        path = self._found[id(module)][1]
        if path in waiting:
            waiting.remove(path)
            called.append(path)
        return path


def _submodules(node: Any, path: str | None) -> Iterator[tuple[str, Any]]:
    """The callable nodes of a pytree, with their paths from the outermost of them."""
    children = tree_flatten_with_path(node, is_leaf=lambda child: child is not node)[0]
    if len(children) == 1 and children[0][1] is node:
        return  # a leaf
    if callable(node) and not isinstance(node, Partial):
        path = path or ""
        yield path, node
    for key, child in children:
        inner = None if path is None else "/".join(filter(None, (path, keystr(key, simple=True))))
        yield from _submodules(child, inner)


_lock = threading.Lock()
_wrapped: dict[type, tuple[Any, int]] = {}  # the original `__call__`, and how many traces need it replaced


@contextlib.contextmanager
def _calls_wrapped(classes: Iterable[type]) -> Iterator[None]:
    classes = list(classes)
    with _lock:
        for cls in classes:
            original, count = _wrapped.get(cls, (vars(cls)["__call__"], 0))
            if not count:
                type.__setattr__(cls, "__call__", _wrapper(original))
            _wrapped[cls] = original, count + 1
    try:
        yield
    finally:
        with _lock:
            for cls in classes:
                original, count = _wrapped.pop(cls)
                if count > 1:
                    _wrapped[cls] = original, count - 1
                else:
                    type.__setattr__(cls, "__call__", original)


def _wrapper(original: Any) -> Any:
    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound, modules = original.__get__(self, type(self)), _modules.get()
        if modules is None:  # another thread
            return bound(*args, **kwargs)
        return modules.call(self, bound, *args, **kwargs)

    return call
