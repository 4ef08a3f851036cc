"""What the format ``onnx_files``, its writer and its peer share: an ONNX model as a graph of which nothing is run.

From the ground up: ``wire`` parses the bytes within bounds, ``tensors`` makes arrays, ``scopes`` resolves names through
subgraphs and functions, ``folding`` computes what follows from constants alone, ``nodes`` reads the operators RNN,
LSTM and GRU, ``stacks`` finds which of them are the layers of one network, and ``writer`` makes new models. Facts are
those of the ONNX specification (onnx.proto, IR version 13, and the operators of opset 22).
"""
