"""Bugs planted in the implementations, and the checks of the harness that find each of them."""
