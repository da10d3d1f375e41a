"""Writes an image of finished layers as an OCI layout, and as one archive for those who want that.

`corpora`, `costs` and `verifies` call it.
"""

import hashlib
import json
import os
import platform
import subprocess

TAG = "latest"
# As image configs spell it: every tool takes the image for one of this machine.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MEDIA = "application/vnd.oci.image"
MANIFEST = f"{_MEDIA}.manifest.v1+json"
_LAYER = f"{_MEDIA}.layer.v1.tar"


def digest_of(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def blob(layout, digest):
    """Where a layout has a blob."""
    return layout / "blobs" / digest.replace(":", "/")


def write(layout, layers):
    """Writes the layout around blobs in place; `layers` are (digest, diff ID), lowest first.

    A blob whose digest is its diff ID is not compressed.
    """
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), "amd64"),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
    }
    described = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _json_blob(layout, config, f"{_MEDIA}.config.v1+json"),
        "layers": [
            _descriptor(layout, digest, _LAYER if digest == diff_id else f"{_LAYER}+gzip")
            for digest, diff_id in layers
        ],
    }
    entry = _json_blob(layout, described, described["mediaType"])
    entry["annotations"] = {"org.opencontainers.image.ref.name": TAG}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def pack(layout, archive):
    """The layout as one tar file."""
    command = [
        "tar",
        "--sort=name",
        "-cf",
        archive,
        "-C",
        layout,
        "oci-layout",
        "index.json",
        "blobs",
    ]
    subprocess.run(command, check=True)


def manifest(layout):
    """The digest of the manifest, by which a store knows the image."""
    return json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]


def read(layout):
    """The layers of a layout as (blob digest, diff ID), lowest first."""
    described = json.loads(blob(layout, manifest(layout)).read_text())
    config = json.loads(blob(layout, described["config"]["digest"]).read_text())
    digests = [layer["digest"] for layer in described["layers"]]
    return list(zip(digests, config["rootfs"]["diff_ids"]))


def _json_blob(layout, value, media_type):
    text = json.dumps(value).encode()
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    blob(layout, digest).write_bytes(text)
    return _descriptor(layout, digest, media_type)


def _descriptor(layout, digest, media_type):
    size = os.path.getsize(blob(layout, digest))
    return {"mediaType": media_type, "digest": digest, "size": size}
