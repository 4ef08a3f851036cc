"""Files of Keras: its archives, its files of weights, and the older HDF5 files, read without Keras and without a doubt
about what they run: nothing. ``files`` is the format, ``hdf5`` the container, ``configuration`` what a file says of its
layers, and ``writing`` makes new files.
"""
