//! A registry that takes tokens, and the server that signs them: RS256, as distribution's "Token Authentication
//! Specification" has it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use support::program::{self, Run};

use super::{Registry, Site};

const CERTIFICATE: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout signer.key -out signer.crt \
    -subj /CN=signer 2>&1 && openssl x509 -in signer.crt -outform der | base64 -w0 > signer.b64";

/// Signs tokens on a thread, for as long as the tests run.
struct Signer {
    directory: PathBuf,
    /// The scopes that were asked for, each with whether the password was right.
    asked: Mutex<Vec<(String, bool)>>,
}

impl Signer {
    fn start(site: &Site) -> (Arc<Signer>, u16) {
        let run = Run::of(program::shell(CERTIFICATE).current_dir(site.path("")));
        assert_eq!(run.status, 0, "{run:?}");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it has one").port();
        let signer = Arc::new(Signer {
            directory: site.path(""),
            asked: Mutex::default(),
        });
        let of_thread = Arc::clone(&signer);
        thread::spawn(move || {
            // A client that goes away is no failure.
            listener
                .incoming()
                .flatten()
                .for_each(|connection| drop(of_thread.answer(connection)));
        });
        (signer, port)
    }

    /// One request on each connection.
    fn answer(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(&connection).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let headers: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let right = format!("Basic {}", STANDARD.encode("user:hunter2"));
        let login = headers.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        let scopes = scopes(&first);
        let is_right = login == Some(&right);
        let mut asked = self.asked.lock().expect("no panic");
        asked.extend(scopes.iter().map(|scope| (scope.clone(), is_right)));
        drop(asked);
        let (status, body) = match login {
            Some(_) if !is_right => ("401 Unauthorized", String::new()),
            _ => ("200 OK", self.token(&scopes, is_right).to_string()),
        };
        let length = body.len();
        write!(
            connection,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    /// Anybody gets a token, but one that permits nothing.
    fn token(&self, scopes: &[String], permits: bool) -> Value {
        let read = |name: &str| std::fs::read_to_string(self.directory.join(name)).expect("a file");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs();
        let access: Vec<Value> = scopes
            .iter()
            .filter(|_| permits)
            .filter_map(|scope| {
                let mut parts = scope.splitn(3, ':');
                let (kind, name) = (parts.next()?, parts.next()?);
                let actions: Vec<&str> = parts.next()?.split(',').collect();
                Some(json!({ "type": kind, "name": name, "actions": actions }))
            })
            .collect();
        let head = json!({ "typ": "JWT", "alg": "RS256", "x5c": [read("signer.b64")] });
        let claims = json!({
            "iss": "signer", "sub": "user", "aud": "service", "jti": "1",
            "exp": now + 300, "nbf": now - 60, "iat": now, "access": access,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&head), encode(&claims));
        let script = "openssl dgst -sha256 -sign signer.key | base64 -w0";
        let mut openssl = program::shell(script);
        let run = Run::with_input(openssl.current_dir(&self.directory), signed.as_bytes());
        let signature = STANDARD.decode(&run.stdout).expect("base64");
        let signature = URL_SAFE_NO_PAD.encode(signature);
        json!({ "token": format!("{signed}.{signature}"), "expires_in": 300 })
    }
}

/// The scopes in the first line of a request.
fn scopes(line: &str) -> Vec<String> {
    let query = line.split(' ').nth(1).and_then(|path| path.split_once('?'));
    let fields = query.map_or("", |(_, query)| query).split('&');
    let scopes = fields.filter_map(|field| field.strip_prefix("scope="));
    let plain = |text: &str| {
        let text = text.replace("%3A", ":").replace("%3a", ":");
        let text = text.replace("%2C", ",").replace("%2c", ",");
        text.replace("%2F", "/").replace("%2f", "/")
    };
    scopes.map(plain).collect()
}

#[test]
fn one_token_is_enough_for_an_image() {
    let site = Site::new();
    let (signer, port) = Signer::start(&site);
    let auth = format!(
        "auth: {{token: {{realm: \"http://127.0.0.1:{port}/token\", service: service, \
         issuer: signer, rootcertbundle: {}}}}}",
        site.path("signer.crt").display()
    );
    let Some(registry) = Registry::start("", &auth, |_| {}) else {
        return;
    };
    let creds = ["--dest-creds", "user:hunter2"];
    registry
        .push(&site.layout(), "team/it:1", &creds)
        .expect("pushed");
    let image = format!("docker://{}/team/it:1", registry.host());
    let asked = || std::mem::take(&mut *signer.asked.lock().expect("no panic"));
    asked();
    site.lists(&image, &["--creds=user:hunter2"]);
    assert_eq!(asked(), [("repository:team/it:pull".into(), true)]);
    for (options, hint) in [
        (&["--no-creds"][..], "no login was to be used"),
        (&["--creds=user:wrong-hunter"], "the login that was given"),
    ] {
        let run = site.run(&[&["-v", "ls", &image][..], options].concat());
        run.fails(1, &["401"]);
        assert!(run.hint().contains(hint), "{run:?}");
        assert!(!run.stderr.contains("hunter"), "{run:?}");
        assert!(asked().iter().all(|(_, is_right)| !is_right));
    }
}
