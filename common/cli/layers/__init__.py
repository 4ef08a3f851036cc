"""Commands about the recurrent layers in a file, and the options by which one of them is chosen.

``chosen`` reads a file and chooses a layer as the options say; ``inspect`` is ``rosetta inspect``.
"""
