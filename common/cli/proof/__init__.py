"""The commands that prove something about the weights in a user's file: ``rosetta check FILE`` and ``tolerance``."""
