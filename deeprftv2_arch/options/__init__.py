"""Option files: what may stand in them, as data, and the checks and the reference that are made from it.

`keys` and `definitions` import nothing but each other: data sets and models take the names of their keys from there.
The checks stand above data sets, models and networks, whose signatures they read.
"""
