"""The sources of importance, one file each: how much each pixel of a picture matters, and what that depends on."""
