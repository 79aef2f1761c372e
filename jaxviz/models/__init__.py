"""The networks, as Flax NNX modules in evaluation mode; `jaxviz.load_model` loads pretrained weights."""

from jaxviz.models.squeezenet import SqueezeNet as SqueezeNet
from jaxviz.models.vgg import VGG16 as VGG16

__all__ = ["VGG16", "SqueezeNet"]
