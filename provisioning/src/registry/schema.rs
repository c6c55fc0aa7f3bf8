//! The tables of the registry, and how an older registry becomes a newer one.
//!
//! The version stands in the file (`user_version`); a registry of a later version is left alone.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::RegistryError;
use super::audit::{self, Event};
use super::care::BEGUN;
use super::inventory::time;

/// Marks the file as ours (`application_id`): "CSGN".
const APPLICATION_ID: i32 = 0x4353_474e;

/// The steps from each version to the next; a registry of version `n` needs those from the `n`th.
const MIGRATIONS: [&str; 7] = [
    VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7,
];

/// The version that has an audit chain.
const AUDITED: usize = 4;

/// The version whose audit chain is signed.
const SIGNED: usize = 7;

const VERSION_1: &str = "
CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Ids are compared without case, for they become names of directories; and one id is either a
-- device's or an application's, for a person who reads it cannot see which.
CREATE TABLE device (
    id      TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
    kind    TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE certificate (
    serial     BLOB NOT NULL PRIMARY KEY,
    role       TEXT NOT NULL,
    name       TEXT NOT NULL,
    device     TEXT REFERENCES device (id),
    status     TEXT NOT NULL,
    reason     INTEGER,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    sha256     BLOB NOT NULL UNIQUE,
    pem        TEXT NOT NULL,
    created    INTEGER NOT NULL
) STRICT;

-- One certificate of each holder counts; and no two authorities share a name, for a revocation
-- list is found by it.
CREATE UNIQUE INDEX certificate_current ON certificate (role, name) WHERE status = 'issued';
CREATE INDEX certificate_device ON certificate (device);
";

/// Revocation, and what is known of devices.
const VERSION_2: &str = "
-- When it was revoked; why stands in `reason`.
ALTER TABLE certificate ADD COLUMN revoked INTEGER;

-- Whose list it belongs on: the serial number of its issuer's certificate. In a registry of
-- version 1 there is one authority of each role.
ALTER TABLE certificate ADD COLUMN issuer BLOB REFERENCES certificate (serial);
UPDATE certificate SET issuer = (
    SELECT authority.serial FROM certificate AS authority WHERE authority.role =
        CASE certificate.role
            WHEN 'device' THEN 'device-ca'
            WHEN 'app' THEN 'device-ca'
            WHEN 'broker' THEN 'server-ca'
            ELSE 'root'
        END
);
CREATE INDEX certificate_revoked ON certificate (issuer) WHERE revoked IS NOT NULL;

-- A device may be revoked, get a new certificate on purpose, and be revoked again.
CREATE TABLE device_revocation (
    device  TEXT NOT NULL COLLATE NOCASE REFERENCES device (id),
    revoked INTEGER NOT NULL,
    reason  INTEGER NOT NULL,
    PRIMARY KEY (device, revoked)
) STRICT;

-- What was signed under a number that only rises: lists and exports.
CREATE TABLE publication (
    kind        TEXT NOT NULL,
    issuer      BLOB NOT NULL REFERENCES certificate (serial),
    number      INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    PRIMARY KEY (kind, issuer, number)
) STRICT;

CREATE TABLE device_attribute (
    device TEXT NOT NULL COLLATE NOCASE REFERENCES device (id),
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (device, name)
) STRICT;

CREATE TABLE device_group (
    device TEXT NOT NULL COLLATE NOCASE REFERENCES device (id),
    name   TEXT NOT NULL,
    PRIMARY KEY (device, name)
) STRICT;
";

/// The inventory and batches.
const VERSION_3: &str = "
-- A device taken out of the inventory stays on record, for its certificates do.
ALTER TABLE device ADD COLUMN removed INTEGER;

-- For operators alone: unlike groups, tags are not exported, and no policy sees them.
CREATE TABLE device_tag (
    device TEXT NOT NULL COLLATE NOCASE REFERENCES device (id),
    name   TEXT NOT NULL,
    PRIMARY KEY (device, name)
) STRICT;

CREATE TABLE batch (
    name     TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
    -- SHA-256 of the list it was begun with.
    list     BLOB NOT NULL,
    format   TEXT NOT NULL,
    -- The octets of an absolute path, which need not be text.
    output   BLOB NOT NULL,
    -- So many octets of the one file are on disk and belong to rows that are written.
    durable  INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    finished INTEGER
) STRICT;

CREATE TABLE batch_row (
    batch  TEXT NOT NULL COLLATE NOCASE REFERENCES batch (name),
    line   INTEGER NOT NULL,
    device TEXT NOT NULL COLLATE NOCASE REFERENCES device (id),
    state  TEXT NOT NULL,
    serial BLOB REFERENCES certificate (serial),
    PRIMARY KEY (batch, line)
) STRICT, WITHOUT ROWID;

-- A device waits in one batch at a time.
CREATE UNIQUE INDEX batch_row_open ON batch_row (device) WHERE state IN ('waiting', 'recorded');
CREATE INDEX batch_row_state ON batch_row (batch, state, line);
";

/// What was done, and who is suspended.
const VERSION_4: &str = "
-- Each entry holds the hash of all before it.
CREATE TABLE audit (
    number  INTEGER NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    event   TEXT NOT NULL,
    subject TEXT NOT NULL,
    words   TEXT NOT NULL,
    hash    BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit chain only grows'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit chain only grows'); END;

-- Whose certificates do not count until somebody says otherwise.
CREATE TABLE device_suspension (
    device    TEXT NOT NULL PRIMARY KEY COLLATE NOCASE REFERENCES device (id),
    suspended INTEGER NOT NULL
) STRICT;
";

/// Enrolment over the network.
const VERSION_5: &str = "
-- What lets a device enrol once. The token itself is nowhere: this is its SHA-256.
CREATE TABLE token (
    number  INTEGER NOT NULL PRIMARY KEY,
    device  TEXT NOT NULL COLLATE NOCASE REFERENCES device (id),
    hash    BLOB NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    state   TEXT NOT NULL,
    -- When it was used or revoked; for which public key (its SHA-256), and what was issued.
    settled INTEGER,
    key     BLOB,
    serial  BLOB REFERENCES certificate (serial)
) STRICT;
CREATE UNIQUE INDEX token_open ON token (device) WHERE state = 'open';
CREATE INDEX token_device ON token (device);

-- Who asked without a token, and waits for a person: an id that anybody may claim, with a key.
CREATE TABLE enrolment (
    -- No number is given twice: a person decides by it.
    number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    device  TEXT NOT NULL COLLATE NOCASE,
    key     BLOB NOT NULL,
    address TEXT NOT NULL,
    asked   INTEGER NOT NULL,
    state   TEXT NOT NULL,
    settled INTEGER,
    serial  BLOB REFERENCES certificate (serial),
    UNIQUE (device, key)
) STRICT;
CREATE INDEX enrolment_state ON enrolment (state, asked);
";

/// The life of authorities, of which there may be several of a role.
const VERSION_6: &str = "
CREATE TABLE authority (
    certificate BLOB NOT NULL PRIMARY KEY REFERENCES certificate (serial),
    role        TEXT NOT NULL,
    number      INTEGER NOT NULL,
    stage       TEXT NOT NULL,
    -- When it came to this stage.
    since       INTEGER NOT NULL,
    UNIQUE (role, number)
) STRICT;
CREATE UNIQUE INDEX authority_active ON authority (role) WHERE stage = 'active';
CREATE UNIQUE INDEX authority_next ON authority (role) WHERE stage IN ('prepared', 'published');

-- A root's key certified by the root before it, for those who trust only that one.
CREATE TABLE cross_certificate (
    serial  BLOB NOT NULL PRIMARY KEY,
    subject BLOB NOT NULL REFERENCES authority (certificate),
    issuer  BLOB NOT NULL REFERENCES authority (certificate),
    pem     TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (subject, issuer)
) STRICT;
INSERT INTO authority SELECT serial, role, 1, 'active', created FROM certificate
    WHERE role IN ('root', 'device-ca', 'server-ca');
";

/// What was handed out, who vouches for what was done, and lists made fast.
const VERSION_7: &str = "
CREATE TABLE delivery (
    batch     TEXT NOT NULL COLLATE NOCASE REFERENCES batch (name),
    device    TEXT NOT NULL COLLATE NOCASE REFERENCES device (id),
    serial    BLOB NOT NULL REFERENCES certificate (serial),
    recipient TEXT NOT NULL,
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX delivery_device ON delivery (batch, device);

-- Signatures over entries of the audit chain, and so over all before them.
CREATE TABLE checkpoint (
    number    INTEGER NOT NULL PRIMARY KEY REFERENCES audit (number),
    authority BLOB NOT NULL REFERENCES certificate (serial),
    signature BLOB NOT NULL
) STRICT;

-- All that a list says, so that to make one reads no certificate.
DROP INDEX certificate_revoked;
CREATE INDEX certificate_listed ON certificate (issuer, serial, not_after, revoked, reason)
    WHERE revoked IS NOT NULL;
";

/// Brings the registry to the version of this program.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), RegistryError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(RegistryError::doing("open"))?;
    let pragma = |name| {
        let value = transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        value.map_err(RegistryError::doing("read the version of"))
    };
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let newest = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    let done = match usize::try_from(version) {
        Ok(0) if application == 0 => 0,
        Ok(done) if application == APPLICATION_ID => done,
        Ok(_) | Err(_) => return Err(RegistryError::Foreign),
    };
    let Some(missing) = MIGRATIONS.get(done..) else {
        return Err(RegistryError::Newer { version, newest });
    };
    if missing.is_empty() {
        // To write the version again would cost a sync each time.
        return Ok(());
    }
    for step in missing {
        transaction
            .execute_batch(step)
            .map_err(RegistryError::doing("migrate"))?;
    }
    if (1..AUDITED).contains(&done) {
        begin_chain(&transaction, done)?;
    }
    if (1..SIGNED).contains(&done) {
        let last = audit::stand(&transaction)?;
        let words = "signed from the next opening of the device CA's key on";
        if let Some(last) = last {
            audit::note(&transaction, (Event::Begun, BEGUN, words), last.at)?;
        }
    }
    for (name, value) in [("application_id", APPLICATION_ID), ("user_version", newest)] {
        transaction
            .pragma_update(None, name, value)
            .map_err(RegistryError::doing("migrate"))?;
    }
    transaction
        .commit()
        .map_err(RegistryError::doing("migrate"))
}

/// The chain of an older registry begins with what is there, at the time of the last of it.
fn begin_chain(transaction: &Transaction<'_>, version: usize) -> Result<(), RegistryError> {
    let sql = "SELECT count(*), ifnull(max(created), 0) FROM certificate";
    let (count, last): (u32, i64) = transaction
        .query_row(sql, [], |row| row.try_into())
        .map_err(RegistryError::doing("migrate"))?;
    let words = format!("after {count} certificates, in a registry of version {version}");
    audit::note(transaction, (Event::Begun, "registry", &words), time(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program of each version left, with one device.
    const LEFT: [&str; 6] = [
        LEFT_BY_VERSION_1,
        LEFT_BY_VERSION_2,
        LEFT_BY_VERSION_3,
        LEFT_BY_VERSION_4,
        LEFT_BY_VERSION_5,
        LEFT_BY_VERSION_6,
    ];

    const LEFT_BY_VERSION_1: &str = "
        INSERT INTO device VALUES ('dev-1', 'device', 5);
        INSERT INTO certificate VALUES
            (x'01', 'root', 'root 1', NULL, 'issued', NULL, 5, 9, x'01', 'pem 1', 5),
            (x'02', 'device-ca', 'device CA 1', NULL, 'issued', NULL, 5, 9, x'02', 'pem 2', 5),
            (x'03', 'server-ca', 'server CA 1', NULL, 'issued', NULL, 5, 9, x'03', 'pem 3', 5),
            (x'04', 'broker', 'broker', NULL, 'issued', NULL, 5, 9, x'04', 'pem 4', 5),
            (x'05', 'device', 'dev-1', 'dev-1', 'issued', NULL, 5, 9, x'05', 'pem 5', 5);
    ";

    const LEFT_BY_VERSION_2: &str = "
        UPDATE certificate SET status = 'revoked', reason = 1, revoked = 7 WHERE serial = x'05';
        INSERT INTO device_revocation VALUES ('dev-1', 7, 1);
        INSERT INTO publication VALUES ('revocation-list', x'02', 3, 7, 9);
        INSERT INTO device_attribute VALUES ('dev-1', 'site', 'Bern');
        INSERT INTO device_group VALUES ('dev-1', 'pumps');
    ";

    const LEFT_BY_VERSION_3: &str = "
        INSERT INTO device_tag VALUES ('dev-1', 'spare');
        INSERT INTO batch VALUES ('lot', x'01', 'dir', x'2f', 0, 5, NULL);
        INSERT INTO batch_row VALUES ('lot', 2, 'dev-1', 'waiting', NULL);
    ";

    const LEFT_BY_VERSION_4: &str = "
        INSERT INTO audit VALUES
            (1, 5, 'begun', 'registry', 'after 5 certificates, in a registry of version 4',
             zeroblob(32));
        INSERT INTO device_suspension VALUES ('dev-1', 8);
    ";

    const LEFT_BY_VERSION_5: &str = "
        INSERT INTO token VALUES (1, 'dev-1', x'0a', 8, 9, 'open', NULL, NULL, NULL);
    ";

    const LEFT_BY_VERSION_6: &str = "
        UPDATE authority SET since = 6;
    ";

    /// A registry as the program of `version` left it.
    fn left_by(version: usize) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "foreign_keys", true)
            .unwrap();
        for (tables, rows) in MIGRATIONS.iter().zip(LEFT).take(version) {
            connection.execute_batch(tables).unwrap();
            connection.execute_batch(rows).unwrap();
        }
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        connection
            .pragma_update(None, "user_version", i32::try_from(version).unwrap())
            .unwrap();
        connection
    }

    /// The columns that are text or can be shown as text, a line each row.
    fn rows(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    const CERTIFICATES: &str =
        "SELECT pem || ' of ' || hex(issuer) FROM certificate ORDER BY serial";

    #[test]
    fn a_registry_of_any_version_becomes_one_of_this_version_and_loses_nothing() {
        for version in 1..=LEFT.len() {
            let mut connection = left_by(version);
            for _ in 0..2 {
                migrate(&mut connection).unwrap();
                let expected = [
                    "pem 1 of 01",
                    "pem 2 of 01",
                    "pem 3 of 01",
                    "pem 4 of 03",
                    "pem 5 of 02",
                ];
                assert_eq!(rows(&connection, CERTIFICATES), expected);
                let removed = "SELECT id FROM device WHERE removed IS NULL";
                assert_eq!(rows(&connection, removed), ["dev-1"]);
                let audit = "SELECT number || event || at || words FROM audit";
                let begun_by = version.min(AUDITED);
                let begun =
                    format!("1begun5after 5 certificates, in a registry of version {begun_by}");
                let signed = "2begun5signed from the next opening of the device CA's key on";
                assert_eq!(rows(&connection, audit), [&begun, signed]);
            }
            let newest: i32 = connection
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .unwrap();
            assert_eq!(usize::try_from(newest), Ok(MIGRATIONS.len()));
            let broken = rows(
                &connection,
                "SELECT \"table\" FROM pragma_foreign_key_check",
            );
            assert_eq!(broken, [""; 0]);
        }
    }

    #[test]
    fn revocations_numbers_labels_and_batches_are_there_in_this_version() {
        let mut connection = left_by(3);
        migrate(&mut connection).unwrap();
        for (sql, expected) in [
            (
                "SELECT hex(serial) || status || reason || revoked FROM certificate
              WHERE revoked IS NOT NULL",
                "05revoked17",
            ),
            (
                "SELECT device || revoked || reason FROM device_revocation",
                "dev-171",
            ),
            ("SELECT kind || number FROM publication", "revocation-list3"),
            (
                "SELECT device || name || value FROM device_attribute",
                "dev-1siteBern",
            ),
            ("SELECT device || name FROM device_group", "dev-1pumps"),
            ("SELECT device || name FROM device_tag", "dev-1spare"),
            (
                "SELECT batch || line || device || state FROM batch_row",
                "lot2dev-1waiting",
            ),
        ] {
            assert_eq!(rows(&connection, sql), [expected]);
        }
    }

    #[test]
    fn the_authorities_of_an_older_registry_are_the_first_and_active() {
        for version in 1..=LEFT.len() {
            let mut connection = left_by(version);
            migrate(&mut connection).unwrap();
            let sql = "SELECT hex(certificate) || ' ' || role || ' ' || number || ' ' || stage
                       FROM authority ORDER BY certificate";
            let expected = [
                "01 root 1 active",
                "02 device-ca 1 active",
                "03 server-ca 1 active",
            ];
            assert_eq!(rows(&connection, sql), expected, "version {version}");
        }
    }

    #[test]
    fn a_registry_of_version_1_has_nobody_revoked() {
        let mut connection = left_by(1);
        migrate(&mut connection).unwrap();
        let revoked = "SELECT pem FROM certificate WHERE revoked IS NOT NULL";
        assert_eq!(rows(&connection, revoked), [""; 0]);
    }
}
