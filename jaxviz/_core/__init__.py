"""The base of every method: the model, arguments, devices and files."""
