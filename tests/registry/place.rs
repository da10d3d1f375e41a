//! A server on a thread that answers as a closure says, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Status, headers (each with its end of line), body.
pub type Reply = (u16, String, Vec<u8>);

pub struct Place {
    port: u16,
    log: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Request {
    pub fn header(&self, wanted: &str) -> Option<&str> {
        let mut headers = self.text.lines().filter_map(|line| line.split_once(": "));
        let found = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value)
    }
}

impl Place {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (of_thread, answer) = (Arc::clone(&log), Arc::new(answer));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&of_thread), Arc::clone(&answer));
                std::thread::spawn(move || {
                    // Whatever asks for TLS gets nothing.
                    let Some(request) = read(&connection) else {
                        return;
                    };
                    log.lock().unwrap().push(request.clone());
                    // A client that goes away is no failure.
                    let _ = write(connection, answer(&request));
                });
            }
        });
        Place { port, log }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if reader.read_line(&mut text).ok()? == 0 {
            return None;
        }
    }
    let path = text.split(' ').nth(1)?.to_string();
    let mut request = Request { path, text };
    let length = request.header("content-length");
    let mut body = vec![0; length.and_then(|text| text.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    request.text.push_str(&String::from_utf8_lossy(&body));
    Some(request)
}

fn write(mut to: TcpStream, (status, headers, body): Reply) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    to.write_all(head.as_bytes())?;
    to.write_all(&body)
}
