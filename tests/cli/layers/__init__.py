"""The commands that show a layer of a file: ``inspect``, ``describe``, and ``trace`` and ``stepper`` of a file."""
