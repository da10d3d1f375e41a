"""How long it takes from a registry to an unpacked image, by ours and by others.

`python3 tests/bench pulls` calls it. A registry and its clients run in a network namespace of their
own, where the loopback device is as fast as it can be, or has 200 Mbit/s.
"""

import concurrent.futures
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import time
import urllib.parse

import corpora
import disk
import layout
import machine
import peers
from process import Failed, run, seconds
from settings import CORPORA, DIRECTORY, RUNS, TOOLS, builds

HOST = "127.0.0.1:5000"
NAMESPACE = "lowerdir-bench"
MBIT = 200
# What may be sent at once at that rate, in bytes.
BURST = 1 << 20
DOWNLOAD, UNPACK = "download alone", "unpack alone"


def measure():
    """All rounds, and the table."""
    names = CORPORA or ["twelve"]
    built = [corpora.build(name) for name in names]
    print(f"{machine.describe()}\n")
    for corpus in built:
        for rate in (None, MBIT):
            times = {}
            with _network(rate), _registry(corpus):
                tools = _tools(corpus)
                for number in range(RUNS):
                    start = number % len(tools)
                    for name in (list(tools) * 2)[start : start + len(tools)]:
                        times.setdefault(name, []).append(_once(name, tools[name]))
            _show(corpus, rate, {name: times[name] for name in tools})


def _once(name, tool):
    with disk.fresh() as place:
        try:
            time_taken = tool(place)
        except Failed as error:
            print(f"{name}: {error}", file=sys.stderr)
            return None
    print(f"{name}: {time_taken:.2f} s", file=sys.stderr, flush=True)
    return time_taken


def _show(corpus, rate, times):
    """Medians, and ratios to the longer one of downloading and unpacking alone, round by round."""
    network = f"{rate} Mbit/s" if rate else "loopback"
    print(f"| {corpus.name}, {network} | s | / the longer of the first two |\n|---|---|---|")
    ideal = [max(pair) for pair in zip(times[DOWNLOAD], times[UNPACK], strict=True)]
    for name, taken in times.items():
        pairs = [(s, best) for s, best in zip(taken, ideal, strict=True) if s is not None]
        if not pairs:
            print(f"| {name} | failed | |")
            continue
        median = statistics.median(s for s, _ in pairs)
        ratio = statistics.median(s / best for s, best in pairs)
        print(f"| {name} | {median:.2f} | {ratio:.2f} |")
    print(flush=True)


def _inside(*command):
    return ("ip", "netns", "exec", NAMESPACE, *command)


@contextlib.contextmanager
def _network(rate):
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, stderr=subprocess.DEVNULL)
    run("ip", "netns", "add", NAMESPACE)
    try:
        run(*_inside("ip", "link", "set", "lo", "mtu", "1500", "up"))
        if rate:
            words = f"tc qdisc add dev lo root tbf rate {rate}mbit burst {BURST} latency 400ms"
            run(*_inside(*words.split()))
        yield
    finally:
        run("ip", "netns", "del", NAMESPACE)


@contextlib.contextmanager
def _registry(corpus):
    place = DIRECTORY / "registry"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "config.yml").write_text(
        "version: 0.1\nlog: {accesslog: {disabled: true}, level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {place}/blobs}}}}\n"
        f"http: {{addr: {HOST}, secret: x}}\n"
    )
    with open(place / "log", "wb") as log:
        command = _inside("docker-registry", "serve", place / "config.yml")
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            push = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]
            image = (f"oci:{corpus.layout}:{layout.TAG}", f"docker://{HOST}/bench:{layout.TAG}")
            for _ in range(50):
                with contextlib.suppress(Failed):
                    run(*_inside(*push, *image))
                    break
                time.sleep(0.2)
            else:
                raise Failed((place / "log").read_text())
            yield
        finally:
            daemon.terminate()
            daemon.wait()
            shutil.rmtree(place)


def _tools(corpus):
    there = f"docker://{HOST}/bench:{layout.TAG}"
    image = f"oci:{corpus.layout}:{layout.TAG}"
    name, path = builds()[0]
    copy = ("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false")

    def unpack(place, source):
        run(*_inside(path, "--store", place / "store", "-q", "unpack", source))

    def first_copy(place):
        run(*_inside(*copy, there, f"oci:{place}/layout:{layout.TAG}"))
        unpack(place, f"oci:{place}/layout:{layout.TAG}")

    def ctr(place):
        with peers.daemon(place, _inside()) as client:
            pull = ("images", "pull", "--plain-http", f"{HOST}/bench:{layout.TAG}")
            return seconds(lambda: run(*_inside(*client, *pull)))

    def podman(place):
        storage = ("--root", place / "root", "--runroot", place / "run", "--storage-driver=overlay")
        pull = ("pull", "--quiet", "--tls-verify=false", f"{HOST}/bench:{layout.TAG}")
        run(*_inside("podman", *storage, *pull))

    timed = {
        DOWNLOAD: lambda _: _download(corpus),
        UNPACK: lambda place: unpack(place, image),
        f"{name} unpack docker://": lambda place: unpack(place, there),
        f"skopeo copy, then {name} unpack": first_copy,
        "podman pull": podman,
    }
    tools = {name: _timed(work) for name, work in timed.items()}
    tools["ctr images pull"] = ctr
    must = (DOWNLOAD, UNPACK)
    return {
        name: tool
        for name, tool in tools.items()
        if name in must or not TOOLS or name.startswith(tuple(TOOLS))
    }


def _timed(work):
    return lambda place: seconds(lambda: work(place))


def _download(corpus):
    """All blobs, four at once, to nowhere."""
    manifest = json.loads(
        run(*_inside("curl", "-sf", "-H", f"Accept: {layout.MANIFEST}", _url("manifests", layout.TAG)))
    )
    blobs = [_url("blobs", one["digest"]) for one in manifest["layers"]]
    assert len(blobs) == corpus.layers
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        get = ("curl", "-sf", "-o", "/dev/null")
        list(pool.map(lambda blob: run(*_inside(*get, blob)), blobs))


def _url(kind, reference):
    return f"http://{HOST}/v2/bench/{kind}/{urllib.parse.quote(reference, safe=':')}"
