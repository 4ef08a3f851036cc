"""The formats of files of weights, one module each: how such a file is recognised, read without running anything that
it says, and written.
"""
