"""Pretrained weights of other frameworks in jaxviz's layout: names and axes as tables over numpy arrays.

The only place that may import torch, and inside functions alone.
"""

from weights_convert.download import official as official
from weights_convert.files import Weights as Weights
from weights_convert.files import read as read
from weights_convert.files import write as write
from weights_convert.sources import caffe as caffe
from weights_convert.sources import torchvision as torchvision

__all__ = ["Weights", "caffe", "official", "read", "torchvision", "write"]
