"""What every method stands on: the model, its arguments, devices, and files."""
