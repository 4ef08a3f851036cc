"""Everything that the implementations share, in packages that import only from those before them in this list.

The ground (``errors``, ``printable``, ``signals``, ``workers``, ``parallel``, ``records`` and their types) knows
nothing of networks. ``model`` says what a network is, ``weights`` reads and writes its parameters, ``backend`` says
what an implementation is, ``datasets`` holds the tasks, ``tracing`` follows one example through a cell, ``training``
trains, ``equivalence`` compares implementations, ``study`` makes the records of a report, and ``cli`` is the command.

Nothing here imports a framework or an implementation: ``backend.registry`` reaches them by name.
"""
