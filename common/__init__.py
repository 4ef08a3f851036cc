"""What every backend shares: specifications, the neutral layout, the contract, data, training loop and harness.

Nothing here imports a framework or an implementation; backends are reached by name through ``registry``.
"""
