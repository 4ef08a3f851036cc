"""Pickles read without running anything: ``machine`` makes inert nodes of one, ``tensors`` says which are arrays,
and ``walk`` names the arrays of a whole tree.
"""
