"""Third-party layers that need NumPy alone, behind the contract of a peer (``common.weights.peers``)."""
