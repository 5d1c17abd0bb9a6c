//! Delivering stored results: into a directory of their own where the user wants them. Moved where that is possible, else
//! copied, checked against the manifest, made durable, and only then removed where they were.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hands::Inner;
use super::manifest::{self, Manifest};
use super::progress::TransferKind;
use super::publish::{self, Moved};
use super::retrieve::{gone_name, room};
use super::trouble::{self, blocking};
use super::{Done, ProgressSink};
use crate::failpoint;
use crate::fsutil::make_dirs;
use crate::fsutil::transfer::{copy_tree, remove_tree};
use crate::job::Key;
use crate::job::apply::Input;
use crate::job::fault::{Class, Fault};

/// Where to and how.
pub(super) struct Delivery {
    pub(super) from: PathBuf,
    pub(super) parent: PathBuf,
    pub(super) name: String,
    pub(super) copy: bool,
}

pub(super) async fn deliver(hands: Arc<Inner>, key: Key, what: Delivery, sink: &ProgressSink) -> Done {
    let meter = sink.meter(key, TransferKind::Deliver);
    let result = blocking(move || {
        let delivered = run(&hands, key, &what, |bytes| meter.update(|p| *p = bytes));
        // The user's own directory is full, not the one for results: that is theirs to see to.
        delivered.map_err(
            |fault| if fault.class == Class::DiskFull { Fault { class: Class::Local, ..fault } } else { fault },
        )
    });
    Done::one(key, Input::Delivered(result.await), None)
}

fn run(hands: &Inner, key: Key, what: &Delivery, report: impl Fn(act_proto::jobs::Progress)) -> Result<PathBuf, Fault> {
    let config = &hands.config();
    let Delivery { from, parent, name, copy } = what;
    let name = publish::safe_name(name);
    let failed = |at: &Path| {
        let at = at.to_owned();
        move |e: io::Error| trouble::local(&e, &at)
    };
    make_dirs(parent, config.umask).map_err(failed(parent))?;
    let part = parent.join(super::retrieve::stage_name(&config.instance, key));
    let gone = from.with_file_name(gone_name(&config.instance, key));
    let there = match fs::symlink_metadata(from) {
        Ok(meta) => meta.is_dir(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(failed(from)(e)),
    };
    let is_source = |dir: &Path| is_same_dir(dir, from);
    let find = |run: Option<&str>| {
        publish::find(parent, &name, &config.state_dir, &config.instance, key, |dir, m| {
            run.is_none_or(|run| m.run == run) && (!there || !is_source(dir)) && m.check(dir).is_ok()
        })
    };
    if !there {
        // An earlier call has done it all, and the daemon ended before it could say so.
        let Some((dir, _)) = find(None) else {
            let why = format!("the results in {} are not there any more", from.display());
            return Err(Fault::new(Class::Local, why));
        };
        remove_source(from, &gone).map_err(failed(from))?;
        return Ok(dir);
    }
    if from.parent().is_some_and(|at| is_same_dir(at, parent)) && !copy {
        // They are where they are wanted.
        return Ok(from.clone());
    }
    let mut manifest = Manifest::of(from, &config.state_dir, key);
    if let Some(manifest) = &manifest
        && let Some((dir, _)) = find(Some(&manifest.run))
    {
        // An earlier call has copied them, and the daemon ended before it could say so, or remove them.
        if *copy {
            return Ok(dir);
        }
        match manifest.is_all_of(from) {
            Ok(()) => {
                remove_source(from, &gone).map_err(failed(from))?;
                return Ok(dir);
            }
            // Somebody has worked on them since: that is in no copy, so they are delivered as they are now.
            Err(why) => tracing::info!(%key, why, "results have changed since they were copied"),
        }
    }
    if !copy {
        failpoint!("deliver.rename.before");
        let moved = publish::publish(from, parent, &name, &hands.syncs, |to| follow(manifest.as_mut(), config, to));
        match moved.map_err(failed(parent))? {
            Moved::To(dir) => {
                failpoint!("deliver.rename.after");
                return Ok(dir);
            }
            Moved::CrossDevice => {}
        }
    }
    let bytes = manifest.as_ref().map_or(0, Manifest::bytes);
    let progress = |bytes_done, files| act_proto::jobs::Progress { bytes: bytes_done, total: bytes, files };
    report(progress(0, 0));
    room(parent, bytes, 0)?;
    failpoint!("deliver.copy.before");
    if let Err(e) = copy_tree(from, &part) {
        // Nobody need find half a copy in a directory of the user's.
        drop(remove_tree(&part));
        return Err(failed(parent)(e));
    }
    failpoint!("deliver.copy.after");
    if let Some(manifest) = &manifest {
        // If the source was not whole any more, what is left of it is still delivered: it is the user's.
        let at_source = manifest.check(from);
        if at_source.is_ok()
            && let Err(why) = manifest.check(&part)
        {
            drop(remove_tree(&part));
            return Err(Fault::new(Class::Transient, format!("the copy of the results is not right: {why}")));
        }
    }
    report(progress(bytes, manifest.as_ref().map_or(0, |m| m.files.len() as u64)));
    let published = publish::publish(&part, parent, &name, &hands.syncs, |to| follow(manifest.as_mut(), config, to));
    let Moved::To(dir) = published.map_err(failed(parent))? else {
        return Err(Fault::new(Class::Transient, format!("{} changed its file system", parent.display())));
    };
    failpoint!("deliver.published");
    if !copy {
        remove_source(from, &gone).map_err(failed(from))?;
    }
    Ok(dir)
}

/// Removes what has been copied. It loses its name first, so that a half removed directory is never taken for results.
fn remove_source(from: &Path, gone: &Path) -> io::Result<()> {
    failpoint!("deliver.source.before");
    match fs::rename(from, gone) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            // What an earlier call left half removed is in the way.
            remove_tree(gone)?;
            fs::rename(from, gone)?;
        }
        _ => {}
    }
    failpoint!("deliver.source.renamed");
    remove_tree(gone)?;
    failpoint!("deliver.source.after");
    Ok(())
}

/// A manifest that is kept apart from its directory learns where that will be.
fn follow(manifest: Option<&mut Manifest>, config: &super::HandsConfig, to: &Path) -> io::Result<()> {
    match manifest {
        Some(manifest) if manifest.dir.is_some() => manifest.write_apart(&config.state_dir, to),
        _ => Ok(()),
    }
}

fn is_same_dir(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino()));
    matches!((identity(a), identity(b)), (Ok(a), Ok(b)) if a == b)
}

/// Forgets what is kept in the state directory about results that are not ours to find any more.
pub(super) fn forget(hands: &Inner, key: Key) {
    manifest::forget_displaced(&hands.config().state_dir, key);
}
