"""Third-party implementations, adapted to the contract, with which ours is compared: ``torch_nn`` for torch.nn.

A backend that is an oracle appears in ``common.backend.registry.BUILTIN`` and is loaded by name, as all others are.
"""
