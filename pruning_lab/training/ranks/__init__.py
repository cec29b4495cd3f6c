"""One training on several devices: a process for each, and each batch split over them. Knows not what is trained.

Rank 0 runs the whole program. It sends each training to the other ranks as it begins, and nothing else: so what is cut,
chosen, written and said is decided once, and the others learn of a cut by the network of the next training.
"""
