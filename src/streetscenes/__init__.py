"""Driving scenes drawn from a seed: picture, labels, instances, distance, disparity, outlines, camera and speed.

    scene = streetscenes.scene.render(seed=1, width=512, height=256)

Stands alone: imports nothing of vcmbench, which uses it for its demo, its tests and its benchmarks.
"""
