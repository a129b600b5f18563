"""The kinds of task, one file each: what is counted of a machine's answer, checked, reduced and shown."""
