//! `docker://` with Debian's registry: images that skopeo pushed, logins, certificates and mirrors.
//!
//! What a registry does wrong is in `tests/registry`, with a server of our own.

mod nginx;
mod podman;
mod tokens;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use support::program::{self, Run};
use tempfile::TempDir;

use crate::generate::Flavour;
use crate::oci::{Compression, sha256, write_layout};
use crate::property::{Image, for_each_stack, stacks};
use crate::tarball::LayerBuilder;

/// What `htpasswd -Bbn user hunter2` makes.
const PASSWORDS: &str = "user:$2y$05$Tlkyk2lsmbmvXLFVq1Bptuq5826GcO.5aXrllPngs3rMIQ7djn7vW\n";

/// A registry, until it is dropped.
pub struct Registry {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl Registry {
    /// `http` is added to that section of its configuration, `rest` stands beside it; `DIR` is its directory, with
    /// `files` in it. `None`, with a word why, where there is none.
    fn start(http: &str, rest: &str, files: impl Fn(&Path)) -> Option<Registry> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        files(directory.path());
        let port = free_port();
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: DIR/blobs}}}}\n{rest}\n\
             http:\n  addr: 127.0.0.1:{port}\n  secret: x\n{http}\n"
        );
        let text = text.replace("DIR", directory.path().to_str().expect("text"));
        let config = directory.path().join("config.yml");
        fs::write(&config, text).expect("a file");
        let log = File::create(directory.path().join("log")).expect("a file");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config);
        command
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                crate::skip(&format!("docker-registry: {error}"));
                return None;
            }
        };
        let registry = Registry {
            directory,
            port,
            child,
        };
        assert!(is_up(port), "it does not come up: {}", registry.log());
        Some(registry)
    }

    pub fn plain() -> Option<Registry> {
        Registry::start("", "", |_| {})
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("a log")
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has skopeo copy an image there, byte for byte. Errors: what it says.
    pub fn push(&self, from: &str, name: &str, options: &[&str]) -> Result<(), String> {
        let mut skopeo = program::other("skopeo");
        skopeo.args([
            "copy",
            "--insecure-policy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            from,
        ]);
        skopeo.arg(format!("docker://{}/{name}", self.host()));
        Run::of(skopeo.args(options)).text().map(drop)
    }

    /// One request; returns the headers of the answer. Panics if it fails.
    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n",
            self.host()
        );
        connection.write_all(head.as_bytes()).expect("sent");
        connection.write_all(body).expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        answer
    }

    fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let answer = self.request("POST", &uploads, "text/plain", b"");
        let mut lines = answer.lines();
        let place = lines.find_map(|line| line.strip_prefix("Location: "));
        let place = place.expect("a place");
        let (_, path) = place.split_once(&self.host()).expect("it is here");
        let digest = format!("sha256:{}", sha256(bytes));
        let path = format!("{path}&digest={digest}");
        self.request("PUT", &path, "application/octet-stream", bytes);
        digest
    }

    /// Signs a manifest as `cosign sign --key` does, for this name.
    fn sign(&self, repository: &str, digest: &str, key: &Path, name: &str) {
        let payload = serde_json::json!({
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string();
        let script = "openssl dgst -sha256 -sign \"$KEY\" | base64 -w0";
        let mut openssl = program::shell(script);
        let run = Run::with_input(openssl.env("KEY", key), payload.as_bytes());
        let config = self.put_blob(repository, b"{}");
        let layer = self.put_blob(repository, payload.as_bytes());
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": 2,
            },
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": layer,
                "size": payload.len(),
                "annotations": {"dev.cosignproject.cosign/signature": run.stdout},
            }],
        });
        let path = format!(
            "/v2/{repository}/manifests/{}.sig",
            digest.replace(':', "-")
        );
        let kind = "application/vnd.oci.image.manifest.v1+json";
        self.request("PUT", &path, kind, manifest.to_string().as_bytes());
    }

    /// How many blobs of a repository were fetched.
    fn fetched(&self, repository: &str) -> usize {
        let path = format!("\"GET /v2/{repository}/blobs/");
        self.log()
            .lines()
            .filter(|line| line.contains(&path))
            .count()
    }
}

/// One that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has one").port()
}

/// Waits until a server listens; whether it ever does.
fn is_up(port: u16) -> bool {
    let listens = |_| {
        let is_there = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !is_there {
            thread::sleep(Duration::from_millis(50));
        }
        is_there
    };
    (0..600).any(listens)
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A store, and an image of two layers to push.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new() -> Site {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let low = LayerBuilder::new()
            .file("etc/motd", 0o644, "hello\n")
            .file("etc/gone", 0o644, "");
        let high = LayerBuilder::new().whiteout("etc/gone");
        let layers = [low.finish(), high.finish()].map(|layer| (layer, Compression::Gzip));
        write_layout(&directory.path().join("layout"), "it", &layers);
        Site { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn layout(&self) -> String {
        format!("oci:{}:it", self.path("layout").display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::lowerdir();
        command.arg("--store").arg(self.path("store"));
        command
            .env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"))
            .args(arguments)
            .current_dir(self.directory.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// `ls` of an image, which fetches its layers.
    fn lists(&self, image: &str, options: &[&str]) {
        let run = self.run(&[&["ls", image, "etc"][..], options].concat());
        assert_eq!(run.status, 0, "{run:?}");
        assert!(run.stdout.contains("etc/motd"), "{run:?}");
        assert!(!run.stdout.contains("gone"), "{run:?}");
    }
}

#[test]
fn a_registry_s_image_is_mounted_as_what_was_pushed() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    for_each_stack(stacks() / 40, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let Ok(tree) = stack.expected() else {
            return Ok(());
        };
        let name = site.file_name().expect("it has one").to_string_lossy();
        let name = name.trim_start_matches('.').to_lowercase();
        registry.push(&image.reference("oci:"), &format!("{name}:1"), &[])?;
        let there = format!("docker://{}/{name}:1", registry.host());
        let unpack = || {
            let mut command = program::lowerdir();
            command.arg("--store").arg(site.join("store"));
            command.args(["unpack", "--sync=none", &there]);
            Run::of(command.args(image.options()))
        };
        unpack().done()?;
        // What is compared with the model is in the store: the layers have the same chain IDs.
        image.mounted_is("store", &tree)?;
        let before = registry.fetched(&name);
        unpack().done()?;
        let configs = registry.fetched(&name) - before;
        match configs {
            0 | 1 => Ok(()),
            _ => Err(format!("{} blobs were fetched again", configs)),
        }
    });
}

#[test]
fn a_password_is_taken_from_wherever_it_is_and_never_shown() {
    let auth = "auth: {htpasswd: {realm: here, path: DIR/passwords}}";
    let write = |directory: &Path| {
        fs::write(directory.join("passwords"), PASSWORDS).expect("a file");
    };
    let Some(registry) = Registry::start("", auth, write) else {
        return;
    };
    let site = Site::new();
    let creds = ["--dest-creds", "user:hunter2"];
    registry
        .push(&site.layout(), "it:1", &creds)
        .expect("pushed");
    let image = format!("docker://{}/it:1", registry.host());
    // As `podman login` writes it.
    let file = site.path("auth.json");
    let key = format!(
        r#"{{"auths":{{"{}":{{"auth":"dXNlcjpodW50ZXIy"}}}}}}"#,
        registry.host()
    );
    fs::write(&file, key).expect("a file");
    let file = file.to_str().expect("text");
    site.lists(&image, &["--creds=user:hunter2"]);
    site.lists(&image, &["--authfile", file]);
    let mut command = site.command(&["ls", &image, "--username=user", "--password-stdin"]);
    let run = Run::with_input(&mut command, b"hunter2\n");
    assert!(run.stdout.contains("etc/motd"), "{run:?}");
    for (options, hint) in [
        (
            &["--creds=user:wrong-hunter"][..],
            "the login that was given",
        ),
        (&["--no-creds"], "no login was to be used"),
        (&[], "podman login"),
    ] {
        let run = site.run(&[&["-v", "ls", &image][..], options].concat());
        run.fails(1, &["answered 401"]);
        assert!(run.hint().contains(hint), "{run:?}");
        assert!(!run.stderr.contains("hunter"), "{run:?}");
    }
}

/// `openssl req` makes none that has expired.
const EXPIRED: &str = "exec 2>&1; set -e; touch index.txt; echo 01 > serial
    printf '[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial\n' > conf
    printf 'default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n' >> conf
    printf '[e]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE\n[req]\n' >> conf
    printf 'distinguished_name=d\n[d]\n' >> conf
    openssl req -new -config conf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
        -subj /CN=old -keyout old.key -out old.csr
    openssl ca -batch -config conf -selfsign -keyfile old.key -in old.csr -out old.crt -notext \\
        -startdate 20200101000000Z -enddate 20200102000000Z";

/// Makes certificates with openssl: an authority that is a server too, as `openssl req -x509` makes it, one for another
/// name, one that has expired, and a client's.
fn certificates(directory: &Path) {
    let make = |name: &str, host: &str, more: &str| {
        let script = format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
             -addext subjectAltName={host} -keyout {name}.key -out {name}.crt {more} 2>&1"
        );
        let mut command = program::shell(script);
        let run = Run::of(command.current_dir(directory));
        assert_eq!(run.status, 0, "{run:?}");
    };
    make("server", "IP:127.0.0.1", "-days 30");
    make("other", "DNS:elsewhere.example.org", "-days 30");
    let run = Run::of(program::shell(EXPIRED).current_dir(directory));
    assert_eq!(run.status, 0, "{run:?}");
    make(
        "client",
        "DNS:client",
        "-days 30 -addext basicConstraints=critical,CA:FALSE",
    );
}

#[test]
fn certificates_are_those_of_the_host_or_those_that_are_given() {
    let made = tempfile::tempdir().expect("a temporary directory");
    certificates(made.path());
    let copy = |to: &Path| {
        for entry in fs::read_dir(made.path()).expect("a directory") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    };
    let tls = |name: &str, more: &str| {
        let http =
            format!("  tls:\n    certificate: DIR/{name}.crt\n    key: DIR/{name}.key\n{more}");
        Registry::start(&http, "", copy)
    };
    let site = Site::new();
    let given = |names: &[(&str, &str)]| {
        let directory = tempfile::tempdir_in(site.directory.path()).expect("a directory");
        for (from, to) in names {
            fs::copy(made.path().join(from), directory.path().join(to)).expect("a copy");
        }
        directory.keep().to_str().expect("text").to_string()
    };
    let Some(registry) = tls("server", "") else {
        return;
    };
    registry.push(&site.layout(), "it:1", &[]).expect("pushed");
    let image = format!("docker://{}/it:1", registry.host());
    let run = site.run(&["ls", &image]);
    run.fails(1, &["not from an authority that this host trusts"]);
    assert!(run.hint().contains("certs.d"), "{run:?}");
    let own = given(&[("server.crt", "ca.crt")]);
    site.lists(&image, &["--cert-dir", &own]);
    site.lists(&image, &["--tls-verify=false"]);
    let stranger = given(&[("other.crt", "ca.crt")]);
    let run = site.run(&["ls", &image, "--cert-dir", &stranger]);
    run.fails(1, &["not from an authority"]);

    for (name, words) in [("other", "for another name"), ("old", "has expired")] {
        let registry = tls(name, "").expect("the first one started");
        let image = format!("docker://{}/it:1", registry.host());
        let known = given(&[(&format!("{name}.crt"), "ca.crt")]);
        let run = site.run(&["ls", &image, "--cert-dir", &known]);
        run.fails(1, &[words]);
    }

    let clients = "    clientcas: [DIR/client.crt]\n";
    let registry = tls("server", clients).expect("the first one started");
    let image = format!("docker://{}/it:1", registry.host());
    let with_key = given(&[
        ("server.crt", "ca.crt"),
        ("client.crt", "client.cert"),
        ("client.key", "client.key"),
    ]);
    let options = ["--dest-cert-dir", &with_key];
    registry
        .push(&site.layout(), "it:1", &options)
        .expect("pushed");
    site.lists(&image, &["--cert-dir", &with_key]);
    let run = site.run(&["ls", &image, "--cert-dir", &own]);
    assert_eq!(run.status, 1, "{run:?}");
}

#[test]
fn mirrors_are_asked_in_their_order_and_the_registry_at_last() {
    let (Some(registry), Some(empty)) = (Registry::plain(), Registry::plain()) else {
        return;
    };
    let site = Site::new();
    registry
        .push(&site.layout(), "team/it:1", &[])
        .expect("pushed");
    let configure = |text: String| fs::write(site.path("registries.conf"), text).expect("a file");
    let (host, none) = (registry.host(), empty.host());
    // Nothing listens on port 1.
    configure(format!(
        "[[registry]]\nprefix = \"example.org\"\nlocation = \"127.0.0.1:1\"\n\
         [[registry.mirror]]\nlocation = \"127.0.0.1:1/nowhere\"\n\
         [[registry.mirror]]\nlocation = \"{none}\"\n\
         [[registry.mirror]]\nlocation = \"{host}\"\n"
    ));
    site.lists("docker://example.org/team/it:1", &[]);
    assert!(empty.log().contains("GET /v2/team/it/manifests/1"));
    let run = site.run(&["unpack", "docker://example.org/team/it:1", "--sync=none"]);
    assert_eq!(run.status, 0, "{run:?}");
    let images = site.run(&["images"]);
    assert!(
        images.stdout.contains("example.org/team/it:1"),
        "{images:?}"
    );
    configure("[[registry]]\nprefix = \"example.org\"\nblocked = true\n".into());
    let run = site.run(&["ls", "docker://example.org/team/it:1"]);
    run.fails(3, &["is blocked by"]);
    configure("[[registry]]\nprefix = \"example.org\"\nodd = 1\n".into());
    let run = site.run(&["ls", "docker://example.org/team/it:1"]);
    run.fails(1, &["has odd, which is not known here"]);
}

/// Beside the registry that it is a cache of.
#[test]
fn a_pull_through_cache_is_a_registry() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let site = Site::new();
    registry
        .push(&site.layout(), "library/it:1", &[])
        .expect("pushed");
    let proxy = format!("proxy: {{remoteurl: http://{}}}", registry.host());
    let cache = Registry::start("", &proxy, |_| {}).expect("the first one started");
    let image = format!("docker://{}/library/it:1", cache.host());
    for _ in 0..2 {
        site.lists(&image, &[]);
    }
}

#[test]
fn an_image_is_refused_unless_the_key_has_signed_it() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let site = Site::new();
    registry.push(&site.layout(), "it:1", &[]).expect("pushed");
    let script = "for name in cosign other; do
        openssl ecparam -name prime256v1 -genkey -noout -out $name.key &&
        openssl ec -in $name.key -pubout -out $name.pub || exit; done";
    let run = Run::of(program::shell(script).current_dir(site.path("")));
    assert_eq!(run.status, 0, "{run:?}");
    let image = format!("docker://{}/it:1", registry.host());
    let wanted = ["--verify-key=cosign.pub"];
    let refused = |why: &str| {
        for verb in [&["ls", &image][..], &["unpack", &image]] {
            let run = site.run(&[verb, &wanted].concat());
            run.fails(3, &[why]);
        }
        assert!(!site.path("store/images").join("names.json").exists());
    };
    refused("it has no signature");
    let inspected = site.run(&["inspect", &image, "--json", "--no-read"]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected.stdout).expect("JSON");
    let digest = inspected["digest"].as_str().expect("a digest");
    let name = format!("{}/it", registry.host());
    let key = |name: &str| site.path(&format!("{name}.key"));
    registry.sign("it", digest, &key("other"), &name);
    refused("the key did not make it");
    registry.sign("it", digest, &key("cosign"), "example.org/it");
    refused("it is for another name");
    registry.sign("it", digest, &key("cosign"), &name);
    site.lists(&image, &wanted);
    let run = site.run(&["ls", &image, "--verify-key=cosign.key"]);
    run.fails(1, &["cosign.key is not a public key"]);
}
