"""The files of Flax: linen and nnx, in checkpoints of Orbax, msgpack and trees of arrays."""
