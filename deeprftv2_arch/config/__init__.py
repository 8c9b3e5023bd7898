"""Option files: every key declared once, and what is made from that: checks, typed values, the reference.

* `options`: how a section is declared, and its mistakes in words. New keys and new classes begin there.
* `schema`: the sections of BasicSR's files and of our classes. `stages`: what follows from `train.stages`.
* `components`: the registered names and their arguments, also on file for the check before torch is imported.
* `yaml_file`, `overrides`, `problems`: values with the lines that they stand on.
* `checker`, `cross_checks`, `load`: the check of a whole file. `command_line`: that of a launcher.
* `reference`: `docs/options.md` and the JSON schema for editors.
"""
