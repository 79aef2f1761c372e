"""See what an image classifier looks at, what fools it and what it has learned."""

from jaxviz import images as images
from jaxviz import labels as labels
from jaxviz._accelerate import accelerate as accelerate
from jaxviz._class_visualization import ClassVisualization as ClassVisualization
from jaxviz._class_visualization import class_visualizations as class_visualizations
from jaxviz._data_parallel import data_parallel as data_parallel
from jaxviz._fooling import FoolingResult as FoolingResult
from jaxviz._fooling import fooling_images as fooling_images
from jaxviz._saliency import saliency_maps as saliency_maps
from jaxviz.weights import load_model as load_model

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
