//! A proxy on the way: which is used, what it gets to see, and what is said if it does not work.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use support::program::Run;

use crate::logins::{PASSWORD, Site, auth_of, basic, unauthorized};

/// Has no address.
const NAME: &str = "registry.invalid";
const OF_PROXY: &str = "proxy-hunter6";

/// A proxy that connects to this machine, or else to one server, whatever it is asked for; keeps the heads of requests.
struct Proxy {
    host: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(status: u16, server: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let of_thread = Arc::clone(&heads);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (heads, server) = (Arc::clone(&of_thread), server.clone());
                // A client that goes away is no failure.
                std::thread::spawn(move || drop(splice(connection, status, &server, &heads)));
            }
        });
        Proxy { host, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn splice(
    client: TcpStream,
    status: u16,
    server: &str,
    heads: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let target = head.split(' ').nth(1).unwrap_or_default().to_string();
    heads.lock().unwrap().push(head);
    let mut client = client;
    write!(client, "HTTP/1.1 {status} X\r\n\r\n")?;
    if status != 200 {
        return Ok(());
    }
    let is_here = target.starts_with("127.0.0.1:");
    let server = TcpStream::connect(if is_here { &target } else { server })?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut server = server;
    io::copy(&mut reader, &mut server)?;
    server.shutdown(Shutdown::Write)
}

/// A registry that wants a password, behind a proxy.
fn site(status: u16) -> (Site, Proxy) {
    let site = Site::new(|request| match request.header("authorization") {
        Some(authorization) if authorization == basic() => None,
        _ => unauthorized("Basic realm=\"x\""),
    });
    site.auth_file_for(NAME, &auth_of("user", PASSWORD));
    let proxy = Proxy::start(status, site.registry.host());
    (site, proxy)
}

fn run(site: &Site, variables: &[(&str, &str)]) -> Run {
    let mut command = site.command_for(NAME, &["--tls-verify=false"]);
    Run::of(command.envs(variables.iter().copied()))
}

#[test]
fn a_proxy_connects_and_sees_no_login_but_its_own() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let (site, proxy) = site(200);
        let url = format!("http://user:{OF_PROXY}@{}", proxy.host);
        let run = run(&site, &[(variable, &url)]);
        assert_eq!(run.status, 0, "{variable}: {run:?}");
        let heads = proxy.heads();
        assert!(!heads.is_empty(), "{variable}");
        for head in &heads {
            let is_ours = head.starts_with("CONNECT ");
            assert!(
                is_ours && head.contains("Proxy-Authorization: Basic "),
                "{head}"
            );
            assert!(!head.contains(basic().as_str()), "{head}");
        }
        let asked = site.registry.requests();
        let is_logged_in = |head: &str| head.contains(basic().as_str());
        assert!(
            asked.iter().any(|request| is_logged_in(&request.text)),
            "{asked:?}"
        );
        assert!(!run.stderr.contains(OF_PROXY), "{run:?}");
    }
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let (site, proxy) = site(407);
    let url = format!("http://user:{OF_PROXY}@{}", proxy.host);
    let run = run(&site, &[("HTTPS_PROXY", &url)]);
    run.fails(1, &[NAME, "the proxy answered 407"]);
    let named = format!("the proxy {}", proxy.host);
    assert!(run.hint().contains(&named), "{run:?}");
    assert!(!run.stderr.contains(OF_PROXY), "{run:?}");
}

#[test]
fn hosts_that_are_excepted_are_asked_without_the_proxy() {
    for excepted in [NAME, "invalid", ".invalid", "*"] {
        let (site, proxy) = site(200);
        let url = format!("http://{}", proxy.host);
        let run = run(&site, &[("HTTPS_PROXY", &url), ("NO_PROXY", excepted)]);
        run.fails(1, &[NAME]);
        assert_eq!(proxy.heads(), Vec::<String>::new(), "{excepted}");
    }
}
