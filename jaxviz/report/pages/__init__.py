"""How a report shows it: each `section(study, numbers, arrays, files) -> Section`, with the findings in words."""
