"""What compression did to the machine and to the pictures, picture by picture and block by block: score records.

`run` is where it begins; `blocks` draws small parts of every accuracy. It measures and returns: what the records say
together is `analysis`. Imports `compress` and below.
"""
