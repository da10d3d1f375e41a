//! A registry behind nginx, as registries are run: TLS ends there, blobs are elsewhere, and requests are counted.

use std::fs;
use std::process::Child;

use support::program;
use tempfile::TempDir;

use super::{PASSWORDS, Registry, Site, certificates, free_port, is_up};

/// nginx, until it is dropped.
struct Nginx {
    directory: TempDir,
    child: Child,
}

impl Nginx {
    /// `servers` is what stands in `http`; `DIR` is its directory, which has the [`certificates`]. It listens at
    /// `port`. `None`, with a word why, where there is none.
    fn start(port: u16, servers: &str) -> Option<Nginx> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        certificates(directory.path());
        let text = format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid DIR/pid;\nerror_log DIR/errors;\n\
             events {{}}\nhttp {{\n\
             log_format asked '$server_name $status $request_method $uri $http_authorization';\n\
             access_log DIR/log asked;\nclient_max_body_size 0;\n\
             client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/f;\n\
             uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;\n{servers}}}\n"
        );
        let path = directory.path().to_str().expect("text");
        let config = directory.path().join("nginx.conf");
        fs::write(&config, text.replace("DIR", path)).expect("a file");
        let mut command = program::other("nginx");
        command.arg("-p").arg(path).arg("-c").arg(&config);
        command.arg("-e").arg(directory.path().join("errors"));
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                crate::skip(&format!("nginx: {error}"));
                return None;
            }
        };
        let nginx = Nginx { directory, child };
        assert!(is_up(port), "it does not come up: {}", nginx.read("errors"));
        Some(nginx)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// The lines of the log about a server.
    fn log(&self, server: &str) -> Vec<String> {
        let log = self.read("log");
        let lines = log.lines().filter_map(|line| line.strip_prefix(server));
        lines.map(String::from).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends with it.
        let _ = support::program::shell(format!("kill -QUIT {}", self.child.id())).status();
        let _ = self.child.wait();
    }
}

/// What a server in front of a registry passes on.
fn passes(registry: &Registry) -> String {
    format!(
        "proxy_pass http://{}; proxy_set_header Host $http_host; \
         proxy_set_header X-Forwarded-Proto $scheme;",
        registry.host()
    )
}

#[test]
fn tls_ends_at_a_proxy() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let site = Site::new();
    registry.push(&site.layout(), "it:1", &[]).expect("pushed");
    let port = free_port();
    let servers = format!(
        "server {{ listen 127.0.0.1:{port} ssl; server_name front;\n\
         ssl_certificate DIR/server.crt; ssl_certificate_key DIR/server.key;\n\
         ssl_client_certificate DIR/client.crt; ssl_verify_client optional;\n\
         location / {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} {} }} }}\n",
        passes(&registry)
    );
    let Some(nginx) = Nginx::start(port, &servers) else {
        return;
    };
    let image = format!("docker://127.0.0.1:{port}/it:1");
    let given = |names: &[(&str, &str)]| {
        let directory = tempfile::tempdir_in(site.path("")).expect("a directory");
        for (from, to) in names {
            let from = nginx.directory.path().join(from);
            fs::copy(from, directory.path().join(to)).expect("a copy");
        }
        directory.keep().to_str().expect("text").to_string()
    };
    let with_key = given(&[
        ("server.crt", "ca.crt"),
        ("client.crt", "client.cert"),
        ("client.key", "client.key"),
    ]);
    site.lists(&image, &["--cert-dir", &with_key]);
    let without = given(&[("server.crt", "ca.crt")]);
    let run = site.run(&["ls", &image, "--cert-dir", &without]);
    run.fails(1, &["answered 403"]);
    let run = site.run(&["ls", &image]);
    run.fails(1, &["not from an authority that this host trusts"]);
}

/// The second host is another to the client: a login for the first is not sent there.
#[test]
fn a_login_does_not_follow_a_blob_to_another_host() {
    let auth = "auth: {htpasswd: {realm: here, path: DIR/passwords}}";
    let write = |directory: &std::path::Path| {
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
    let (port, blobs) = (free_port(), free_port());
    let servers = format!(
        "server {{ listen 127.0.0.1:{port}; server_name front;\n\
         location ~ /blobs/ {{ return 307 http://localhost:{blobs}$uri?signed=secret; }}\n\
         location / {{ {0} }} }}\n\
         server {{ listen 127.0.0.1:{blobs}; listen [::1]:{blobs}; server_name blobs;\n\
         location / {{ {0} proxy_set_header Authorization \"Basic dXNlcjpodW50ZXIy\"; }} }}\n",
        passes(&registry)
    );
    let Some(nginx) = Nginx::start(port, &servers) else {
        return;
    };
    let image = format!("docker://127.0.0.1:{port}/it:1");
    site.lists(&image, &["--creds=user:hunter2"]);
    let (front, behind) = (nginx.log("front"), nginx.log("blobs"));
    let basic = "Basic dXNlcjpodW50ZXIy";
    let with_login = front.iter().filter(|line| line.ends_with(basic));
    assert!(with_login.count() >= 2, "{front:?}");
    // The config and two layers.
    assert_eq!(behind.len(), 3, "{behind:?}");
    assert!(behind.iter().all(|line| line.ends_with(" -")), "{behind:?}");
}

#[test]
fn too_many_requests_are_made_again_later() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let site = Site::new();
    registry.push(&site.layout(), "it:1", &[]).expect("pushed");
    let port = free_port();
    let servers = format!(
        "limit_req_zone $server_name zone=all:1m rate=1r/s;\n\
         server {{ listen 127.0.0.1:{port}; server_name front; limit_req_status 429;\n\
         location / {{ limit_req zone=all; {} }} }}\n",
        passes(&registry)
    );
    let Some(nginx) = Nginx::start(port, &servers) else {
        return;
    };
    let image = format!("docker://127.0.0.1:{port}/it:1");
    let is_limited = || {
        nginx
            .log("front")
            .iter()
            .any(|line| line.starts_with(" 429"))
    };
    // On a slow machine the requests of one run may be more than a second apart.
    let limited = (0..20).any(|_| {
        site.lists(&image, &[]);
        is_limited()
    });
    assert!(limited, "{}", nginx.read("log"));
}
