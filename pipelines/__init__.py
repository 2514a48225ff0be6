"""What we do: one file per verb, in data order: produce, land, build, check, publish."""
