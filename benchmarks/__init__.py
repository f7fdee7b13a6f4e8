"""One script a claim: each prints medians and ratios against its peer, measured in the same run.

``python -m benchmarks`` runs them all, ``python -m benchmarks.map_speed`` one
of them; ``--quick`` takes smaller images and fewer repeats. None fails because
of a time: whether a claim holds on this machine is printed.
"""
