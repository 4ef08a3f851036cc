"""Third-party implementations that run on NumPy arrays, with which the weights in their own files are proved."""
