"""Option files: what may stand in them, as data, and the checks and the reference that are made from it.

`keys` and `definitions` import nothing but each other: data sets and models take the names of their keys from there.
The checks know networks, data sets, losses, metrics and models from a `catalogue` alone. There are two: `registries`
asks what is imported, and is the only module here that imports torch; `sources` reads source files, before that.
"""
