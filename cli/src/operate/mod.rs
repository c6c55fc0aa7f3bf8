//! A broker: serving, asking one that serves, its policy, and the files that it leaves.

pub(crate) mod admin;
pub(crate) mod audit_commands;
pub(crate) mod broker_admin;
pub(crate) mod broker_commands;
pub(crate) mod policy_commands;
pub(crate) mod storage_commands;
