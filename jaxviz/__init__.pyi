"""See what an image classifier looks at, what fools it and what it has learned."""

from . import images as images
from . import labels as labels
from ._accelerate import accelerate as accelerate
from ._class_visualization import ClassVisualization as ClassVisualization
from ._class_visualization import class_visualizations as class_visualizations
from ._data_parallel import data_parallel as data_parallel
from ._fooling import FoolingResult as FoolingResult
from ._fooling import fooling_images as fooling_images
from ._saliency import saliency_maps as saliency_maps
from .weights import load_model as load_model

__all__ = [
    "ClassVisualization",
    "FoolingResult",
    "accelerate",
    "class_visualizations",
    "data_parallel",
    "fooling_images",
    "images",
    "labels",
    "load_model",
    "saliency_maps",
]
