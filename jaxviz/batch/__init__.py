"""A method over any number of images, in shards that outlive whatever stops it: the command `jaxviz batch`.

Below to above: `items` (what there is to do), `reading` (files to pixels), `methods` (pixels to records), `shards`
(records to files), `work` (all of it in order), `command`.
"""
