"""What a report measures: each `measure(study, done, *, tick, **settings) -> Measured`, with `parts` and `TITLE`."""
