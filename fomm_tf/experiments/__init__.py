"""Experiments of a paper: the ablation (Table 1), the user study (Table 2), and figures.

Only the command line imports this package. `python -m fomm_tf.ablation` is the ablation's command.
"""
