"""Applies a method to any number of images and writes resumable shards: the work of the command `jaxviz batch`.

From bottom to top: `locations` (files on disk and at URLs), `items` (input lists), `reading` (files to pixels),
`methods` (pixels to results), `shards` (results to files), `work` (shard after shard in one process), `on_ray` (on a
cluster). The command is `jaxviz.cli.batch`.
"""
