//! `countersign storage`: what is in a data directory, and whether it is whole.

use crate::failure::{FAILED, Failure, USAGE};
use broker::storage::DirectoryError;
use broker::storage::offline::{self, OfflineError, Report, SegmentReport, ShardReport};
use broker::storage::salvage::{Salvaged, salvage};
use clap::{Args, Subcommand};
use serde_json::json;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// Look at a broker's data directory while no broker uses it.
#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Say what is in a data directory: sessions, messages, files.
    ///
    /// Reads what a broker reads when it starts, and changes nothing. Exit code 0 if a broker would
    /// start with it, 1 if it would refuse, 2 if DIR is no data directory.
    #[command(after_help = "Example:\n  countersign storage inspect certs/dev/data --json")]
    Inspect(InspectArgs),
    /// Check that all of a data directory is as it was written.
    ///
    /// Reads everything, the messages that wait included, and changes nothing. What is damaged is
    /// named with its file and offset. A tail that was torn when the power failed is no damage:
    /// nobody was told of it, and the broker cuts it when it starts.
    ///
    /// Exit code 0 if all is whole, 1 if something is damaged, 2 if DIR is no data directory, 3 if
    /// --salvage had to leave something out.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
}

const VERIFY_HELP: &str = "\
Examples:
  countersign storage verify certs/dev/data
  countersign storage verify certs/dev/data --salvage /backup/data

With --salvage, the state up to the first damage is written to OUT as a new data directory,
without the messages whose content is lost. Look at what was left out before you let a broker
use it: sessions and acknowledgements behind the damage are gone.";

/// What to inspect.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The data directory, `storage.directory` of the broker.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    of: InspectArgs,
    /// Copy what is whole into a new data directory, which must not be there yet.
    #[arg(long, value_name = "OUT")]
    salvage: Option<PathBuf>,
}

/// Done, with something left out.
const PARTLY: u8 = 3;

pub(crate) fn run(command: StorageCommand) -> Result<(), Failure> {
    match command {
        StorageCommand::Inspect(args) => {
            let report = offline::inspect(&args.dir).map_err(|error| failure(&error))?;
            print(&report, args.json);
            Ok(())
        }
        StorageCommand::Verify(args) => {
            if let Some(out) = &args.salvage {
                return save(&args.of, out);
            }
            let report = offline::verify(&args.of.dir).map_err(|error| failure(&error))?;
            print(&report, args.of.json);
            Ok(())
        }
    }
}

fn save(args: &InspectArgs, out: &Path) -> Result<(), Failure> {
    // Unlike in each process.
    let seed = RandomState::new().hash_one(out);
    let shards = salvage(&args.dir, out, seed).map_err(|error| failure(&error))?;
    for (index, shard) in shards.iter().enumerate() {
        if args.json {
            println!("{}", salvaged_json(index, shard));
        } else {
            println!("{}", salvaged_words(index, shard));
        }
    }
    let is_whole = |it: &Salvaged| it.damage.is_none() && it.messages_lost == 0;
    if shards.iter().all(is_whole) {
        return Ok(());
    }
    let words = format!("{}: not all could be saved", args.dir.display());
    Err(Failure::new(PARTLY, words))
}

fn salvaged_json(index: usize, shard: &Salvaged) -> serde_json::Value {
    json!({
        "shard": index,
        "sessions": shard.sessions,
        "messages": shard.messages,
        "messages_lost": shard.messages_lost,
        "retained": shard.retained,
        "damage": shard.damage.as_ref().map(ToString::to_string),
    })
}

fn salvaged_words(index: usize, shard: &Salvaged) -> String {
    let lost = match &shard.damage {
        Some(damage) => format!("read up to this: {damage}"),
        None => "read to the end".to_owned(),
    };
    format!(
        "shard {index}: saved {} sessions, {} messages, {} retained; \
         {} messages lost; {lost}",
        shard.sessions, shard.messages, shard.retained, shard.messages_lost
    )
}

fn print(report: &Report, as_json: bool) {
    if as_json {
        let shards: Vec<_> = report.shards.iter().map(shard_json).collect();
        println!("{}", json!({ "shards": shards }));
        return;
    }
    for shard in &report.shards {
        println!("{}", shard_words(shard));
    }
}

fn shard_json(shard: &ShardReport) -> serde_json::Value {
    json!({
        "path": shard.path,
        "last_turn": shard.position.0,
        "checkpoint": shard.checkpoint.map(|(of, bytes)| json!({ "turn": of.0, "bytes": bytes })),
        "segments": shard.segments.iter().map(segment_json).collect::<Vec<_>>(),
        "torn": shard.torn.as_ref().map(|it| {
            json!({ "path": it.path, "offset": it.offset, "bytes": it.len })
        }),
        "sessions": shard.sessions,
        "subscriptions": shard.subscriptions,
        "messages": shard.messages,
        "payload_bytes": shard.payload_bytes,
        "retained": shard.retained,
    })
}

fn segment_json(segment: &SegmentReport) -> serde_json::Value {
    json!({ "name": segment.name, "bytes": segment.size, "last_turn": segment.end.0 })
}

fn shard_words(shard: &ShardReport) -> String {
    let checkpoint = shard.checkpoint.map_or_else(
        || "no checkpoint".to_owned(),
        |(of, bytes)| format!("a checkpoint of turn {} with {bytes} bytes", of.0),
    );
    let bytes: u64 = shard.segments.iter().map(|it| it.size).sum();
    let torn = shard.torn.as_ref().map_or_else(String::new, |it| {
        format!(
            "\n  a torn tail of {} bytes at offset {} of {}, which the next start cuts",
            it.len,
            it.offset,
            it.path.display()
        )
    });
    format!(
        "{}: {} sessions with {} subscriptions, {} messages with {} bytes of payload, \
         {} retained\n  {} segments with {bytes} bytes up to turn {}, {checkpoint}{torn}",
        shard.path.display(),
        shard.sessions,
        shard.subscriptions,
        shard.messages,
        shard.payload_bytes,
        shard.retained,
        shard.segments.len(),
        shard.position.0,
    )
}

fn failure(error: &OfflineError) -> Failure {
    let code = match error {
        OfflineError::Directory(DirectoryError::Disk { .. } | DirectoryError::Format { .. }) => {
            USAGE
        }
        OfflineError::Directory(_) | OfflineError::Log(_) | OfflineError::Copy { .. } => FAILED,
    };
    Failure::from_error(code, error)
}
