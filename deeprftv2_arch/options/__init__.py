"""Option files: what may stand in them, as data, and the checks and the reference that are made from it.

`keys` and `definitions` import nothing but each other: data sets and models take the names of their keys from there.
The checks know data sets, models and networks from a `catalogue` alone, of which there are two: `registries` asks what is
imported, `sources` reads source files, so that a mistake is told before torch is imported. `registries` alone imports it.
"""
