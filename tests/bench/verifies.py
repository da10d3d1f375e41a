"""Who verifies what, found out by trying: two images that a careful tool refuses.

`rounds` calls it. In one image a layer's blob does not have its digest, though it unpacks to what
it should; in the other the config promises another diff ID. A third one is right, so that a refusal
means something.
"""

import dataclasses
import pathlib
import tempfile

import disk
import layout
from layer import Layer
from process import Failed
from settings import DIRECTORY

# The byte of a gzip header that names the operating system: nothing depends on it (RFC 1952).
_GZIP_OS = 9


@dataclasses.dataclass
class _Image:
    """As much of a corpus as the tools use."""

    directory: pathlib.Path
    layers: int = 1

    @property
    def layout(self):
        return self.directory / "layout"

    @property
    def archive(self):
        return self.directory / "image.tar"

    def blobs(self):
        return [layout.blob(self.layout, digest) for digest, _ in layout.read(self.layout)]


def find_out(tool):
    """What a tool verifies, in words; None where it cannot unpack even the right image."""
    if not _unpacks(tool):
        return None
    refused = {
        "blob digest": not _unpacks(tool, blob_differs=True),
        "diff ID": not _unpacks(tool, diff_id_differs=True),
    }
    return ", ".join(name for name, is_refused in refused.items() if is_refused) or "nothing"


def _unpacks(tool, **how):
    with tempfile.TemporaryDirectory(prefix="verifies-", dir=DIRECTORY) as place:
        image = _write(pathlib.Path(place), **how)
        with disk.fresh() as target:
            try:
                tool.run(image, target)
            except Failed:
                return False
            return True


def _write(place, blob_differs=False, diff_id_differs=False):
    image = _Image(place)
    (image.layout / "blobs" / "sha256").mkdir(parents=True)
    (place / "file").write_text("contents\n")
    with Layer(place / "layer") as layer:
        layer.add(place, "file")
    digest, diff_id = layout.digest_of(layer.path), layer.diff_id()
    data = bytearray(layer.path.read_bytes())
    data[_GZIP_OS] ^= blob_differs
    layout.blob(image.layout, digest).write_bytes(data)
    if diff_id_differs:
        diff_id = diff_id[:-1] + ("1" if diff_id[-1] == "0" else "0")
    layout.write(image.layout, [(digest, diff_id)])
    layout.pack(image.layout, image.archive)
    return image
