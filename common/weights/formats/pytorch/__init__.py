"""Files of PyTorch: ``files`` reads all of them, with the containers of ``legacy``, and ``writing`` makes new ones."""
