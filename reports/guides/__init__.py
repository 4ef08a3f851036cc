"""The pages "From X to Y": how weights go from one library to another, with the conventions of both side by side.

``python -m reports.guides [FOLDER]`` writes them as Markdown. The tables come from ``common.conversions.systems``,
which the converters themselves read, and what is lost on the way is what the converter says of random weights.
"""
