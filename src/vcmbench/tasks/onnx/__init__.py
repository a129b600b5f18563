"""Networks as ONNX files, run by onnxruntime: only data is read, no code of anyone's is run.

A few keys (`keys`) say how a picture becomes the network's input (`pixels`) and its output becomes class ids
(`masks`); what the file itself says (`document`, `session`) is not asked for.
"""
