"""A preset with claims that a changed grid leaves nothing to look at."""

PRESET = """\
title = "Two sizes"
[data]
name = "digits"
[model]
name = "mlp"
[train]
lr = 0.1
epochs = 1
[grid]
batch_size = [8, 64]
[[claims]]
statement = "Larger is worse"
measure = "test_accuracy"
left = { batch_size = 64 }
relation = "less"
right = { batch_size = 8 }
"""
