"""Third-party implementations, adapted to the contract, with which ours is compared: ``flax_linen`` for Flax.

A backend that is an oracle appears in ``common.backend.registry.BUILTIN`` and is loaded by name, as all others are.
"""
