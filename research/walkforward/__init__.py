"""Walk-forward: parameters searched on one range are run on the next, again and again.

Belongs here: windows, what is searched and run in them, the stitched curve, its files. Does not belong here: how a
search chooses (see `research.study`), what the outcome is worth (see `research.overfitting`).
"""
