"""Figures in the manner of the paper's, from one run or several: grids of pictures with words beside them.

`material` reads pictures and frames, `seeing` lets a model look at them, `kinds` says what a figure shows, `layout`
puts the pictures together. Pictures are `[H, W, 3]` uint8.
"""
