"""The untouched end of a study's range: looked at once, and it is recorded when.

Belongs here: running the best trial on the hold-out, remembering the look. Does not belong here: choosing trials (see
`research.study`), judging what was found (see `research.overfitting`).

A second look would be a choice among looks, so there is none: whoever asks again is told what was found the first
time, and when.
"""
