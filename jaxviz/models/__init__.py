"""The networks, as Flax NNX modules in evaluation form; `jaxviz.load_model` fills them with pretrained weights."""

from jaxviz.models.squeezenet import SqueezeNet as SqueezeNet
from jaxviz.models.vgg import VGG16 as VGG16

__all__ = ["VGG16", "SqueezeNet"]
