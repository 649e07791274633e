"""All I/O of the survey: one module a subject. A probe returns a record and never raises for what it exists to see."""
