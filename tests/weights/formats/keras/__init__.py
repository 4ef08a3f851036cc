"""The files of Keras: of version 3, of version 2, and of its layers over cuDNN."""
