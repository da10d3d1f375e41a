//! The gRPC service: translates containerd's messages into calls of a [`Snapshotter`], and its results
//! into messages. Calls block, so each runs on a thread of its own, if there is one.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use super::api::services::snapshots::v1::snapshots_server::Snapshots;
use super::api::services::snapshots::v1::*;
use super::api::types;
use super::{Mount, Result as Done, Snapshot, SnapshotKind, Snapshotter};

/// How many snapshots a message of a list has.
const AT_ONCE: usize = 100;

/// The implementation of the service.
#[derive(Clone)]
pub struct Service {
    snapshotter: Arc<Snapshotter>,
    has_threads: bool,
}

impl Service {
    /// Serves this snapshotter.
    pub fn new(snapshotter: Arc<Snapshotter>) -> Service {
        Service {
            snapshotter,
            has_threads: true,
        }
    }

    /// The same where the system has no threads: one request at a time is answered, on the thread
    /// that takes them.
    pub fn without_threads(snapshotter: Arc<Snapshotter>) -> Service {
        Service {
            snapshotter,
            has_threads: false,
        }
    }

    /// What it serves.
    pub fn snapshotter(&self) -> &Arc<Snapshotter> {
        &self.snapshotter
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshotter) -> Done<T> + Send + 'static,
    ) -> Result<T, Status> {
        if !self.has_threads {
            return Ok(work(&self.snapshotter)?);
        }
        let snapshotter = Arc::clone(&self.snapshotter);
        let done = tokio::task::spawn_blocking(move || work(&snapshotter)).await;
        let died = |_| Status::new(Code::Internal, "the thread of this request panicked");
        Ok(done.map_err(died)??)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Snapshots for Service {
    async fn prepare(
        &self,
        asked: Request<PrepareSnapshotRequest>,
    ) -> Answer<PrepareSnapshotResponse> {
        let PrepareSnapshotRequest {
            key,
            parent,
            labels,
            ..
        } = asked.into_inner();
        let mounts = self
            .call(move |snapshotter| snapshotter.prepare(&key, named(&parent), labels))
            .await?;
        let mounts = mounts.into_iter().map(mount).collect();
        Ok(Response::new(PrepareSnapshotResponse { mounts }))
    }

    async fn view(&self, asked: Request<ViewSnapshotRequest>) -> Answer<ViewSnapshotResponse> {
        let ViewSnapshotRequest {
            key,
            parent,
            labels,
            ..
        } = asked.into_inner();
        let mounts = self
            .call(move |snapshotter| snapshotter.view(&key, named(&parent), labels))
            .await?;
        let mounts = mounts.into_iter().map(mount).collect();
        Ok(Response::new(ViewSnapshotResponse { mounts }))
    }

    async fn mounts(&self, asked: Request<MountsRequest>) -> Answer<MountsResponse> {
        let key = asked.into_inner().key;
        let mounts = self
            .call(move |snapshotter| snapshotter.mounts(&key))
            .await?;
        let mounts = mounts.into_iter().map(mount).collect();
        Ok(Response::new(MountsResponse { mounts }))
    }

    async fn commit(&self, asked: Request<CommitSnapshotRequest>) -> Answer<()> {
        let CommitSnapshotRequest {
            name, key, labels, ..
        } = asked.into_inner();
        self.call(move |snapshotter| snapshotter.commit(&name, &key, labels))
            .await?;
        Ok(Response::new(()))
    }

    async fn remove(&self, asked: Request<RemoveSnapshotRequest>) -> Answer<()> {
        let key = asked.into_inner().key;
        self.call(move |snapshotter| snapshotter.remove(&key))
            .await?;
        Ok(Response::new(()))
    }

    async fn stat(&self, asked: Request<StatSnapshotRequest>) -> Answer<StatSnapshotResponse> {
        let key = asked.into_inner().key;
        let snapshot = self.call(move |snapshotter| snapshotter.stat(&key)).await?;
        let info = Some(info(snapshot));
        Ok(Response::new(StatSnapshotResponse { info }))
    }

    async fn update(
        &self,
        asked: Request<UpdateSnapshotRequest>,
    ) -> Answer<UpdateSnapshotResponse> {
        let UpdateSnapshotRequest {
            info: wanted,
            update_mask,
            ..
        } = asked.into_inner();
        let Info { name, labels, .. } = wanted.unwrap_or_default();
        let fields = update_mask.unwrap_or_default().paths;
        let snapshot = self
            .call(move |snapshotter| snapshotter.update(&name, &labels, &fields))
            .await?;
        let info = Some(info(snapshot));
        Ok(Response::new(UpdateSnapshotResponse { info }))
    }

    type ListStream = Pin<Box<dyn Stream<Item = Result<ListSnapshotsResponse, Status>> + Send>>;

    async fn list(&self, asked: Request<ListSnapshotsRequest>) -> Answer<Self::ListStream> {
        let filters = asked.into_inner().filters;
        let snapshots = self
            .call(move |snapshotter| snapshotter.list(&filters))
            .await?;
        let infos: Vec<Info> = snapshots.into_iter().map(info).collect();
        let part = |part: &[Info]| {
            let info = part.to_vec();
            Ok(ListSnapshotsResponse { info })
        };
        let parts: Vec<_> = infos.chunks(AT_ONCE).map(part).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }

    async fn usage(&self, asked: Request<UsageRequest>) -> Answer<UsageResponse> {
        let key = asked.into_inner().key;
        let usage = self
            .call(move |snapshotter| snapshotter.usage(&key))
            .await?;
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (size, inodes) = (signed(usage.bytes), signed(usage.inodes));
        Ok(Response::new(UsageResponse { size, inodes }))
    }

    async fn cleanup(&self, _: Request<CleanupRequest>) -> Answer<()> {
        self.call(Snapshotter::cleanup).await?;
        Ok(Response::new(()))
    }
}

fn named(parent: &str) -> Option<&str> {
    Some(parent).filter(|parent| !parent.is_empty())
}

fn mount(mount: Mount) -> types::Mount {
    types::Mount {
        r#type: mount.kind,
        source: mount.source,
        target: String::new(),
        options: mount.options,
    }
}

fn info(snapshot: Snapshot) -> Info {
    let kind = match snapshot.kind {
        SnapshotKind::View => Kind::View,
        SnapshotKind::Active => Kind::Active,
        SnapshotKind::Committed => Kind::Committed,
    };
    let moment = |time: SystemTime| Some(time.into());
    Info {
        name: snapshot.name,
        parent: snapshot.parent.unwrap_or_default(),
        kind: kind.into(),
        created_at: moment(snapshot.created),
        updated_at: moment(snapshot.updated),
        labels: snapshot.labels,
    }
}
