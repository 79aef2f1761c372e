"""The networks, as Flax NNX modules in evaluation mode; `jaxviz.load_model` loads pretrained weights."""

from jaxviz.models.squeezenet import SqueezeNet as SqueezeNet
from jaxviz.models.vgg import VGG16 as VGG16

# The last stage of each network whose activations are an image, for class activation maps
LAST_MAPS = {"squeezenet1_0": "fire9", "squeezenet1_1": "fire9", "vgg16": "conv5_3"}

__all__ = ["VGG16", "SqueezeNet"]
