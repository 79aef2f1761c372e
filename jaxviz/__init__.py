"""See what an image classifier looks at, what fools it and what it has learned."""

# The table of contents is `__init__.pyi`. Each name is imported when it is first used, so that `jaxviz --help` does not
# wait for JAX.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
