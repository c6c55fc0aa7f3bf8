//! `countersign completions` and `countersign man`: what a shell and `man` know of the commands.
//!
//! Both are made of what the commands themselves say, so neither can say anything else.

use crate::failure::{FAILED, Failure};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::json;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Print the completions for a shell.
///
/// Let the shell read them when it starts.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  countersign completions bash > /etc/bash_completion.d/countersign
  countersign completions zsh > /usr/local/share/zsh/site-functions/_countersign
  countersign completions fish > ~/.config/fish/completions/countersign.fish";

/// Write a manual page for each command.
///
/// What is there under the same names is replaced.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign man --out /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The directory for the pages; it is made if there is none.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> Result<(), Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    match io::stdout().write_all(&script) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(FAILED, "cannot print the completions").because(&error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn man(args: &ManArgs, mut program: Command) -> Result<(), Failure> {
    let failed = |path: &Path, error: io::Error| {
        Failure::new(FAILED, format!("cannot write {}", path.display())).because(&error)
    };
    fs::create_dir_all(&args.out).map_err(|error| failed(&args.out, error))?;
    program.build();
    let mut written = Vec::new();
    for (name, page) in pages(&program).map_err(|error| failed(&args.out, error))? {
        let path = args.out.join(name);
        fs::write(&path, page).map_err(|error| failed(&path, error))?;
        written.push(path);
    }
    if args.json {
        println!("{}", json!({ "pages": written }));
        return Ok(());
    }
    let out = args.out.display();
    println!("{out}: {} pages", written.len());
    println!("next: man {out}/countersign.1");
    Ok(())
}

/// The name of each page, and what is on it: that of the command, and of those below it.
fn pages(command: &Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        waiting.extend(
            command
                .get_subcommands()
                .filter(|it| it.get_name() != "help"),
        );
        let name = command.get_display_name().unwrap_or(command.get_name());
        let name = name.replace(' ', "-");
        let mut page = Vec::new();
        Man::new(command.clone()).title(&name).render(&mut page)?;
        pages.push((format!("{name}.1"), page));
    }
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    fn program() -> Command {
        let mut program = crate::Arguments::command();
        program.build();
        program
    }

    /// The words of each command, as they are typed.
    fn commands(command: &Command, words: &str, found: &mut BTreeSet<String>) {
        found.insert(words.to_owned());
        for below in command
            .get_subcommands()
            .filter(|it| it.get_name() != "help")
        {
            commands(below, &format!("{words} {}", below.get_name()), found);
        }
    }

    #[test]
    fn every_command_has_a_page_with_its_example() {
        let program = program();
        let mut expected = BTreeSet::new();
        commands(&program, "countersign", &mut expected);
        assert!(expected.contains("countersign ca restore"), "{expected:?}");
        let pages = pages(&program).unwrap();
        let names: BTreeSet<_> = pages.iter().map(|(name, _)| name.clone()).collect();
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|words| format!("{}.1", words.replace(' ', "-")))
            .collect();
        assert_eq!(names, expected);
        let shows = |name: &str| {
            let page = pages.iter().find(|(it, _)| *it == format!("{name}.1"));
            page.is_some_and(|(_, page)| String::from_utf8_lossy(page).contains("Example"))
        };
        for (name, _) in &pages {
            let name = name.trim_end_matches(".1");
            let group = names.iter().any(|it| it.starts_with(&format!("{name}-")));
            let above = name.rsplit_once('-').is_some_and(|(above, _)| shows(above));
            assert!(group || above || shows(name), "{name} shows no example");
        }
    }

    #[test]
    fn each_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program(), "countersign", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["doctor", "restore", "explain", "format", "passphrase-file"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
