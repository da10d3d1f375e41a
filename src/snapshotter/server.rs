//! The socket and the server. The server listens before it reports that it is ready, and on SIGTERM stops
//! once pending requests are answered.

mod authority;

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::error::{Error, Result};

use super::Snapshotter;
use super::api::services::snapshots::v1::snapshots_server::SnapshotsServer;
use super::service::Service;
use authority::Lenient;

/// Requests that are worked on at a time, each on a thread of its own; others wait.
const REQUESTS: usize = 64;
/// Longer than any server lives.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// A listening socket, which is removed on drop.
#[derive(Debug)]
pub struct Socket {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl Socket {
    /// Listens on a path, for this user alone. Replaces a socket without a listener. Errors: another process
    /// listens there; the path is not a socket.
    pub fn bind(path: &Path) -> Result<Socket> {
        let doing = |error| Error::system(format!("listening on {}", path.display()), error);
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let mut making = std::fs::DirBuilder::new();
        making
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(doing)?;
        check_free(path)?;
        listen(path, parent).map_err(doing)
    }
}

/// Creates the socket in a private directory, and renames it once it has its mode.
fn listen(path: &Path, parent: &Path) -> io::Result<Socket> {
    let private = tempfile::Builder::new()
        .prefix(".lowerdir-")
        .tempdir_in(parent)?;
    let making = private.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&making)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(&making, std::fs::Permissions::from_mode(0o600))?;
    let metadata = std::fs::symlink_metadata(&making)?;
    std::fs::rename(&making, path)?;
    Ok(Socket {
        listener,
        path: path.into(),
        inode: (metadata.dev(), metadata.ino()),
    })
}

fn check_free(path: &Path) -> Result<()> {
    let refuse = |why: &str| Err(Error::conflict(format!("{} {why}", path.display())));
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let text = format!("looking at {}", path.display());
            return Err(Error::system(text, error));
        }
        Ok(metadata) if !metadata.file_type().is_socket() => return refuse("is not a socket"),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(Error::system(format!("trying {}", path.display()), error)),
        Ok(_) => refuse("is in use: another process listens there"),
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let there = std::fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == self.inode) {
            // If it stays, it is a socket without a listener, which the next start replaces.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Serves until SIGTERM or SIGINT; then accepts no new requests, and answers pending ones. A second signal
/// cancels layers that are being unpacked. `ready` is called once the signal handlers are installed.
pub fn serve(snapshotter: Snapshotter, socket: &Socket, ready: impl FnOnce()) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(REQUESTS)
        .thread_keep_alive(FOR_EVER)
        .build();
    let runtime = runtime.map_err(|error| Error::system("starting the server", error))?;
    let service = match start_thread(&runtime) {
        true => Service::new(Arc::new(snapshotter)),
        false => Service::without_threads(Arc::new(snapshotter)),
    };
    runtime
        .block_on(run(service, socket, ready))
        .map_err(|error| Error::system(format!("serving {}", socket.path.display()), error))
}

/// Starts the first thread for requests, and says whether the system has one. Requests that are refused
/// a thread of their own wait for it, so it never ends.
fn start_thread(runtime: &tokio::runtime::Runtime) -> bool {
    // tokio panics if it gets none at all.
    let probe = std::thread::Builder::new().spawn(|| ());
    let has_one = probe.is_ok_and(|thread| thread.join().is_ok());
    if has_one {
        drop(runtime.spawn_blocking(|| ()));
    }
    has_one
}

async fn run(service: Service, socket: &Socket, ready: impl FnOnce()) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket.listener.try_clone()?)?;
    let snapshotter = Arc::clone(service.snapshotter());
    let service = SnapshotsServer::new(service);
    let mut signals = Signals::new()?;
    ready();
    let (asked_to_stop, stopping) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        signals.next().await;
        // The receiver lives as long as the server.
        let _ = asked_to_stop.send(());
        signals.next().await;
        snapshotter.stop();
    });
    let stop = async {
        let _ = stopping.await;
    };
    let clients = UnixListenerStream::new(listener).map(|client| client.map(Lenient::new));
    Server::builder()
        .serve_with_incoming_shutdown(service, clients, stop)
        .await
        .map_err(io::Error::other)
}

/// The signals that end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let one = self.terminate.poll_recv(context);
            match one.is_ready() {
                true => one,
                false => self.interrupt.poll_recv(context),
            }
        })
        .await;
    }
}
