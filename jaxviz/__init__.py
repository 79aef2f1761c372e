"""See what an image classifier looks at, what fools it and what it has learned."""

# The table of contents is `__init__.pyi`. Each name is imported on first use, so that `jaxviz --help` does not wait for
# JAX.
import lazy_loader

_import_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "Curve":
        import warnings

        message = "`jaxviz.Curve` is now `jaxviz.PerturbationCurve`; the old name will be removed in version 0.2."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        name = "PerturbationCurve"
    return _import_name(name)
