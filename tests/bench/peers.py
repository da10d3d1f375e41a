"""The container tools that have a storage of their own: containerd, containers-storage, umoci.

`tools` lists them. Each works in an empty directory and returns the seconds that unpacking took.
"""

import contextlib
import subprocess
import time

import layout
from process import Failed, run, seconds


def umoci(corpus, place):
    """All layers into one tree."""
    return seconds(
        lambda: run("umoci", "unpack", "--image", f"{corpus.layout}:{layout.TAG}", place / "bundle")
    )


def skopeo(corpus, place):
    """Into containers-storage, as podman and buildah have it, with the overlay driver."""
    (place / "tmp").mkdir()
    (place / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
    environment = {
        "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
        "TMPDIR": str(place / "tmp"),
    }
    storage = f"containers-storage:[overlay@{place}/graph+{place}/run]bench:{layout.TAG}"
    command = [
        "skopeo",
        "copy",
        "--quiet",
        "--insecure-policy",
        f"oci:{corpus.layout}:{layout.TAG}",
    ]
    return seconds(lambda: run(*command, storage, environment=environment))


def containerd(corpus, place):
    """Copies the blobs into the content store and unpacks them."""
    with daemon(place) as ctr:
        return seconds(lambda: run(*ctr, *_import(corpus)))


def containerd_unpacking(corpus, place):
    """The unpacking alone: the blobs are in the content store already."""
    with daemon(place) as ctr:
        run(*ctr, *_import(corpus), "--no-unpack")
        target = place / "target"
        target.mkdir()
        return seconds(lambda: run(*ctr, "images", "mount", f"bench:{layout.TAG}", target))


def _import(corpus):
    # The archive names its image by a tag alone.
    return "images", "import", "--base-name", "bench", corpus.archive


@contextlib.contextmanager
def daemon(place, prefix=()):
    """containerd with nothing but what unpacking takes, and all of its files in `place`."""
    socket, configuration = place / "socket", place / "config.toml"
    configuration.write_text(
        "version = 2\n"
        f'root = "{place}/root"\nstate = "{place}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{socket}"\n'
        f'[ttrpc]\naddress = "{socket}.ttrpc"\n'
    )
    with open(place / "log", "wb") as log:
        command = [*prefix, "containerd", "--config", configuration]
        process = subprocess.Popen(command, stderr=log)
        try:
            ctr = ["ctr", "--address", socket]
            _wait_for(ctr)
            yield ctr
        finally:
            process.terminate()
            process.wait()


def _wait_for(ctr):
    for _ in range(100):
        with contextlib.suppress(Failed):
            run(*ctr, "version")
            return
        time.sleep(0.1)
    raise Failed("containerd does not answer")
