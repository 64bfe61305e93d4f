//! `aiviary completions` and `aiviary man`, both from the command tree.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Exit, Failure, print};

/// Completions for `shell`.
pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "aiviary", &mut out);
    print(&String::from_utf8_lossy(&out))?;
    Ok(Exit::Done)
}

/// One page: the program, then each command below it.
pub(super) fn page() -> Result<Exit, Failure> {
    let mut out = Vec::new();
    let mut root = Cli::command().disable_help_flag(true);
    root.build();
    let man = Man::new(root.clone());
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    out.extend_from_slice(b".SH COMMANDS\n");
    commands(&root, &mut out)?;
    man.render_extra_section(&mut out)?;
    print(&String::from_utf8_lossy(&out))?;
    Ok(Exit::Done)
}

/// Each command without further ones: its line of use, what it does, its options.
fn commands(parent: &Command, out: &mut Vec<u8>) -> Result<(), Failure> {
    for command in parent.get_subcommands() {
        if command.has_subcommands() {
            commands(command, out)?;
            continue;
        }
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
        let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
        out.extend_from_slice(format!(".SS \"{name}\"\n{about}\n").replace('-', "\\-").as_bytes());
        let own = command.get_arguments().filter(|argument| !argument.is_global_set() && argument.get_id() != "help");
        for argument in own {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            out.extend_from_slice(format!(".TP\n{argument}\n{help}\n").replace('-', "\\-").as_bytes());
        }
    }
    Ok(())
}
