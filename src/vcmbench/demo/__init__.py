"""The embedded data: seeded street scenes in the Cityscapes layout, and real photographs.

``scene.render`` draws one scene, ``cityscapes.write`` a whole data root, ``photos.write`` a flat folder of photographs.
"""
