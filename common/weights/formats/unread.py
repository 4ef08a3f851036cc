"""Kinds of files that may hold weights and that are not read, recognised by their content, each with the way out."""

from common.weights.source import Source

AS_ARRAYS = "save its arrays with numpy.savez, under the names of one of the systems that are read"
FROM_CHECKPOINT = "numpy.savez of what tf.train.load_checkpoint gives is read"
# Where the bytes stand, the bytes, and what such a file is.
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"#Parameter#", f"a model of DyNet; {AS_ARRAYS}"),
    (0, b"#LookupParameter#", f"a model of DyNet; {AS_ARRAYS}"),
    (4, b"TFL3", f"a model of TensorFlow Lite; convert what it was made from, or {AS_ARRAYS}"),
    (-8, b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", f"the index of a checkpoint of TensorFlow; {FROM_CHECKPOINT}"),
    (0, b"\x12\x01\x00\x00\x00\x00\x00\x00", f"parameters of MXNet; {AS_ARRAYS}"),
    (0, b"GGUF", f"a model in GGUF; {AS_ARRAYS}"),
    (0, b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (0, b"BZh", "compressed by bzip2: unpack it first"),
    (0, b"\xfd7zXZ\x00", "compressed by xz: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by Zstandard: unpack it first"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself: run git lfs pull"),
    (0, b"<!DOCTYPE html", "a page of HTML: was the download refused?"),
)


def kind(source: Source) -> str:
    """What a file is that no format claims, in a few words."""
    if source.path.is_dir() and (source.path / "saved_model.pb").exists():
        return f"a SavedModel of TensorFlow; {FROM_CHECKPOINT}, of its folder variables"
    for start, signature, text in SIGNATURES:
        at = start % len(source.data) if source.data else 0
        if source.data[at : at + len(signature)] == signature:
            return text
    return source.kind
