"""The embedded data and network: how they are written, laid out and trained; scenes come from `streetscenes`."""
