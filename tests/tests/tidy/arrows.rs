//! Which crate may use which, and within the broker which module may.
//!
//! The arrows are those of the architecture; an arrow that is not listed does not exist.

use crate::source::Source;
use crate::{Breach, code, finds, holds};

/// Our crates, and which of ours each may use. The folder of a crate is its name here.
const CRATES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("protocol/fuzz", &["protocol"]),
    ("certs", &[]),
    ("certs/fuzz", &["certs"]),
    ("pkcs11", &[]),
    ("broker", &["protocol", "certs"]),
    ("broker/fuzz", &["protocol", "certs", "broker"]),
    ("bench/peers/rumqttd", &[]),
    ("device-client", &["certs", "pkcs11"]),
    ("provisioning", &["certs", "pkcs11"]),
    (
        "fleet",
        &[
            "protocol",
            "certs",
            "device-client",
            "provisioning",
            "broker",
        ],
    ),
    ("fleet/examples/greenhouse", &["device-client", "fleet"]),
    (
        "cli",
        &[
            "protocol",
            "certs",
            "pkcs11",
            "device-client",
            "provisioning",
            "broker",
            "fleet",
        ],
    ),
    (
        "tests",
        &[
            "protocol",
            "certs",
            "device-client",
            "provisioning",
            "broker",
            "fleet",
            "cli",
        ],
    ),
];

/// Modules of the broker, and which others each may use. Those not listed may use all.
const BROKER_MODULES: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("config", &["engine"]),
    ("storage", &["engine"]),
    ("shard", &["engine", "storage"]),
    ("trust", &["config", "engine"]),
    ("memory", &["engine"]),
    ("refusals", &["engine"]),
    ("audit", &["config", "refusals", "shard"]),
    (
        "net",
        &[
            "audit", "config", "engine", "memory", "refusals", "shard", "trust",
        ],
    ),
];

fn crates_use_only_what_they_may(sources: &[Source]) -> Vec<Breach> {
    let manifests = sources
        .iter()
        .filter(|source| source.place().1 == "Cargo.toml");
    manifests.flat_map(crate_breaches).collect()
}

fn crate_breaches(manifest: &Source) -> Vec<Breach> {
    let folder = manifest.place().0;
    if folder.is_empty() {
        return Vec::new();
    }
    let Some((_, may)) = CRATES.iter().find(|(name, _)| *name == folder) else {
        let what = "an unknown crate: list in arrows.rs which of ours it may use";
        return vec![Breach::new(manifest, 0, what)];
    };
    let breach = |(line, used): (usize, String)| {
        let what = format!("{folder} must not use {used}; of ours it may use {may:?}");
        Breach::new(manifest, line, what)
    };
    let forbidden = dependencies(&manifest.text)
        .into_iter()
        .filter(|(_, used)| !may.contains(&&**used));
    forbidden.map(breach).collect()
}

/// The dependencies of a manifest that are ours, of every sort, with their lines.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut section = "";
    let mut used = Vec::new();
    for (number, line) in manifest.lines().enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        }
        let (_, own_section) = section.rsplit_once("dependencies").unwrap_or(("", "-"));
        let name = match (own_section.strip_prefix('.'), line.starts_with('[')) {
            (Some(name), true) => name,
            (None, false) if own_section.is_empty() => {
                line.split(['.', ' ', '=']).next().unwrap_or_default()
            }
            _ => continue,
        };
        used.extend(our_crate(name, line).map(|name| (number + 1, name)));
    }
    used
}

/// The crate of ours that a dependency of this name is, by its key or its package.
fn our_crate(name: &str, line: &str) -> Option<String> {
    let package = line
        .split_once("package = \"")
        .and_then(|(_, rest)| rest.split('"').next());
    let name = package.unwrap_or(name);
    let name = name.strip_prefix("countersign-").unwrap_or(name);
    let name = if name == "countersign" { "cli" } else { name };
    CRATES
        .iter()
        .find(|(ours, _)| *ours == name)
        .map(|(ours, _)| (*ours).to_owned())
}

fn broker_modules_use_only_what_they_may(sources: &[Source]) -> Vec<Breach> {
    sources
        .iter()
        .filter(|source| !source.is_test)
        .flat_map(module_breaches)
        .collect()
}

fn module_breaches(source: &Source) -> Vec<Breach> {
    let Some(module) = module_path(source) else {
        return Vec::new();
    };
    let Some((own, may)) = BROKER_MODULES
        .iter()
        .find(|(name, _)| module.first().is_some_and(|first| first == name))
    else {
        return Vec::new();
    };
    let mut breaches = Vec::new();
    for path in code::paths(&source.own_code()) {
        let Some(used) = top_module(&path.segments, &module) else {
            continue;
        };
        let is_module = used.starts_with(|c: char| c.is_lowercase());
        if is_module && used != *own && !may.contains(&&*used) {
            let what = format!("{own} must not use {used}; beside itself it may use {may:?}");
            breaches.push(Breach::new(source, path.line, what));
        }
    }
    breaches
}

/// The module that a file of the broker is, from the root of the crate.
fn module_path(source: &Source) -> Option<Vec<String>> {
    let path = source
        .path
        .strip_prefix("broker/src/")?
        .strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some(path.split('/').map(str::to_owned).collect())
}

/// The module right below the root of the crate to which a path leads that `module` names.
fn top_module(segments: &[String], module: &[String]) -> Option<String> {
    let ups = segments
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    if segments.first()? == "crate" {
        return segments.get(1).cloned();
    }
    (ups > 0 && ups == module.len())
        .then(|| segments.get(ups).cloned())
        .flatten()
}

#[test]
fn crates_use_only_those_below_them() {
    holds(crates_use_only_what_they_may);
    let broker = "[dependencies]\ncerts.workspace = true\nprovisioning.workspace = true\n\
                  tokio.workspace = true\n[dev-dependencies]\n\
                  x = { path = \"../cli\", package = \"countersign\" }\n\
                  [target.'cfg(unix)'.dependencies.countersign-fleet]\npath = \"../fleet\"\n\
                  [features]\nfleet = []\n";
    finds(
        crates_use_only_what_they_may,
        &[
            ("Cargo.toml", "[workspace.dependencies]\ncli = \"1\"\n"),
            ("broker/Cargo.toml", broker),
            (
                "protocol/Cargo.toml",
                "[build-dependencies]\ncerts = \"1\"\n",
            ),
            (
                "device-client/Cargo.toml",
                "[dependencies]\nprotocol = { workspace = true }\n",
            ),
            ("gadget/Cargo.toml", ""),
        ],
        &[
            "broker/Cargo.toml:3",
            "broker/Cargo.toml:6",
            "broker/Cargo.toml:7",
            "protocol/Cargo.toml:2",
            "device-client/Cargo.toml:2",
            "gadget/Cargo.toml:0",
        ],
    );
}

#[test]
fn in_the_broker_decisions_know_nothing_of_sockets_and_files() {
    holds(broker_modules_use_only_what_they_may);
    let engine = "use crate::engine::time;\nuse crate::{net::Listener, engine};\n\
                  use super::super::super::storage::Log;\nuse super::session::x;\n\
                  #[cfg(test)]\nmod tests { use crate::shard; }\n// crate::net\n";
    finds(
        broker_modules_use_only_what_they_may,
        &[
            ("broker/src/engine/policy/rule.rs", engine),
            (
                "broker/src/config/mod.rs",
                "use super::engine::x;\nuse super::net::y;\n",
            ),
            (
                "broker/src/net/tls.rs",
                "use crate::storage::x;\nuse crate::shard::y;\n",
            ),
            ("broker/src/server.rs", "use crate::net::x;\n"),
            ("cli/src/engine/x.rs", "use crate::net::x;\n"),
        ],
        &[
            "broker/src/engine/policy/rule.rs:2",
            "broker/src/engine/policy/rule.rs:3",
            "broker/src/config/mod.rs:2",
            "broker/src/net/tls.rs:1",
        ],
    );
}
