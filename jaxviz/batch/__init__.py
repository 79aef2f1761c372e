"""Applies a method to any number of images and writes resumable shards: the work of the command `jaxviz batch`.

From bottom to top: `items` (input lists), `reading` (files to pixels), `methods` (pixels to results), `shards` (results
to files), `work` (the whole run). The command is `jaxviz.cli.batch`.
"""
