"""The resamplers, one file each: how a picture is made smaller before coding and large again after decoding."""
