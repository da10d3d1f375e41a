//! The service, as containerd calls it: all ten methods, in the messages of its API.

use std::future::Future;
use std::sync::Arc;

use lowerdir::Error;
use lowerdir::internals::snapshotter::Service;
use lowerdir::internals::snapshotter::api::services::snapshots::v1::snapshots_client::SnapshotsClient;
use lowerdir::internals::snapshotter::api::services::snapshots::v1::snapshots_server::SnapshotsServer;
use lowerdir::internals::snapshotter::api::services::snapshots::v1::*;
use lowerdir::snapshotter::Failure;
use rustix::io::Errno;
use tonic::{Code, Status};

use crate::place::{Place, TARGET, labels, two_layers};

type Client = SnapshotsClient<SnapshotsServer<Service>>;

/// Calls the service without a socket; messages are written and read all the same.
fn served<F: Future<Output = Result<(), Status>>>(place: &Place, calls: impl FnOnce(Client) -> F) {
    let service = Service::new(Arc::new(place.open()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let calls = calls(SnapshotsClient::new(SnapshotsServer::new(service)));
    runtime.block_on(calls).unwrap();
}

fn prepare(key: &str, parent: &str) -> PrepareSnapshotRequest {
    PrepareSnapshotRequest {
        key: key.into(),
        parent: parent.into(),
        labels: labels([("x", "1")]),
        ..Default::default()
    }
}

#[test]
fn all_methods_answer() {
    let place = Place::new();
    served(&place, |mut client| async move {
        let snapshotter = "lowerdir".to_string();
        let made = client.prepare(prepare("key", "")).await?.into_inner();
        assert_eq!(
            (made.mounts.len(), made.mounts[0].r#type.as_str()),
            (1, "bind")
        );
        let key = "key".to_string();
        let asked = MountsRequest {
            snapshotter: snapshotter.clone(),
            key: key.clone(),
        };
        assert_eq!(client.mounts(asked).await?.into_inner().mounts, made.mounts);
        let (name, labels) = ("name".to_string(), labels([("y", "2")]));
        let asked = CommitSnapshotRequest {
            name: name.clone(),
            key,
            labels,
            ..Default::default()
        };
        client.commit(asked).await?;
        let asked = StatSnapshotRequest {
            snapshotter,
            key: name.clone(),
        };
        let info = client.stat(asked).await?.into_inner().info.unwrap();
        assert_eq!(
            (info.name.as_str(), info.kind(), info.parent.as_str()),
            ("name", Kind::Committed, "")
        );
        assert!(info.created_at.unwrap().seconds > 1_600_000_000);
        assert_eq!(info.labels["y"], "2");
        let view = ViewSnapshotRequest {
            key: "look".into(),
            parent: name.clone(),
            ..Default::default()
        };
        assert_eq!(
            client.view(view).await?.into_inner().mounts[0].options,
            ["ro", "rbind"]
        );
        let wanted = Info {
            name: name.clone(),
            labels: [("z".into(), "3".into())].into(),
            ..Default::default()
        };
        let asked = UpdateSnapshotRequest {
            info: Some(wanted),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["labels.z".into()],
            }),
            ..Default::default()
        };
        let updated = client.update(asked).await?.into_inner().info.unwrap();
        assert_eq!(updated.labels.len(), 2);
        let asked = UsageRequest {
            key: name,
            ..Default::default()
        };
        assert_eq!(client.usage(asked).await?.into_inner().inodes, 1);
        client
            .remove(RemoveSnapshotRequest {
                key: "look".into(),
                ..Default::default()
            })
            .await?;
        client.cleanup(CleanupRequest::default()).await?;
        Ok(())
    });
}

#[test]
fn a_list_is_a_stream_of_parts() {
    let place = Place::new();
    served(&place, |mut client| async move {
        for number in 0..230 {
            client.prepare(prepare(&format!("{number:03}"), "")).await?;
        }
        let asked = ListSnapshotsRequest {
            filters: vec!["kind==active".into()],
            ..Default::default()
        };
        let mut parts = client.list(asked).await?.into_inner();
        let (mut names, mut count) = (Vec::new(), 0);
        while let Some(part) = parts.message().await? {
            names.extend(part.info.into_iter().map(|info| info.name));
            count += 1;
        }
        assert!(names.is_sorted());
        assert_eq!((names.len(), count), (230, 3));
        Ok(())
    });
}

#[test]
fn refusals_have_the_codes_that_containerd_knows() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    place.unpack(&layers);
    served(&place, |mut client| async move {
        client.prepare(prepare("key", "")).await?;
        let refused = |done: Result<_, Status>| done.map(drop).unwrap_err().code();
        assert_eq!(
            refused(client.prepare(prepare("key", "")).await),
            Code::AlreadyExists
        );
        assert_eq!(
            refused(client.prepare(prepare("new", "no")).await),
            Code::NotFound
        );
        assert_eq!(
            refused(client.prepare(prepare("new", "key")).await),
            Code::InvalidArgument
        );
        let mut layer = prepare("new", "");
        layer.labels = labels([(TARGET, &chain[0])]);
        assert_eq!(refused(client.prepare(layer).await), Code::AlreadyExists);
        let key = chain[0].clone();
        let asked = MountsRequest {
            key: key.clone(),
            ..Default::default()
        };
        assert_eq!(
            client.mounts(asked).await.unwrap_err().code(),
            Code::FailedPrecondition
        );
        client.prepare(prepare("child", &key)).await?;
        let asked = RemoveSnapshotRequest {
            key,
            ..Default::default()
        };
        assert_eq!(
            client.remove(asked).await.unwrap_err().code(),
            Code::FailedPrecondition
        );
        let asked = ListSnapshotsRequest {
            filters: vec!["name=".into()],
            ..Default::default()
        };
        assert_eq!(
            client.list(asked).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        Ok(())
    });
}

/// A status is a header: clients give an answer up whose headers take more than 8 KiB.
#[test]
fn a_long_reason_is_cut_in_its_middle() {
    let place = Place::new();
    served(&place, |mut client| async move {
        for (odd, count) in [("x", 5000), ("\u{e9}", 700_001), ("\n", 3000)] {
            let filter = format!("name=={} y", odd.repeat(count).replace('\n', "\u{1f9ea}"));
            let asked = ListSnapshotsRequest {
                filters: vec![filter],
                ..Default::default()
            };
            let refused = client.list(asked).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            let said = refused.message();
            assert!(said.starts_with("filter \"name=="), "{said}");
            assert!(said.ends_with("instead of a comma"), "{said}");
            assert!(said.len() <= 2048 && said.contains('\u{2026}'), "{said}");
            let key = odd.repeat(count);
            let asked = StatSnapshotRequest {
                key,
                ..Default::default()
            };
            let missing = client.stat(asked).await.unwrap_err();
            assert_eq!(missing.code(), Code::NotFound);
            assert!(missing.message().ends_with("does not exist"));
        }
        let asked = StatSnapshotRequest {
            key: "short".into(),
            ..Default::default()
        };
        let missing = client.stat(asked).await.unwrap_err();
        assert_eq!(missing.message(), "snapshot short does not exist");
        Ok(())
    });
}

/// containerd goes on after NOT_FOUND and ALREADY_EXISTS, and takes UNIMPLEMENTED for a snapshotter
/// without that request: only what is not there may be the first, and nothing the others.
#[test]
fn a_code_follows_from_the_kind_of_an_error() {
    let system = |errno: Errno| std::io::Error::from(errno);
    let table = [
        (Error::refused("x"), Code::InvalidArgument),
        (Error::mismatch("x"), Code::DataLoss),
        (Error::limit("x"), Code::ResourceExhausted),
        (Error::usage("x"), Code::InvalidArgument),
        (Error::not_found("x"), Code::NotFound),
        (Error::conflict("x"), Code::FailedPrecondition),
        (Error::unsupported("x"), Code::FailedPrecondition),
        (Error::network("x"), Code::Unavailable),
        (Error::system("x", system(Errno::IO)), Code::Internal),
        (
            Error::system("x", system(Errno::NOSPC)),
            Code::ResourceExhausted,
        ),
        (
            Error::system("x", system(Errno::NOSYS)),
            Code::FailedPrecondition,
        ),
        (Error::cancelled(), Code::Unavailable),
        (Error::internal("x"), Code::Internal),
    ];
    for kind in lowerdir::Kind::ALL {
        assert!(
            table.iter().any(|(error, _)| error.kind() == kind),
            "{kind:?}"
        );
    }
    for (error, code) in table {
        let shown = format!("{error:?}");
        assert_eq!(Code::from(Failure::from(error).code), code, "{shown}");
    }
}
