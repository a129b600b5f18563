"""The commands, one module each: its name is what is typed, its docstring's first line what `--help` says of it."""
