//! `bulbil completions` and `bulbil man`: what a shell and `man` want to know. Neither needs a home.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;
use serde_json::json;

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::context::Context;
use super::output::Outcome;

/// Prints the completions for a shell.
pub fn completions(args: CompletionsArgs, context: &Context) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bulbil", &mut script);
    let script = String::from_utf8(script).context("the completions are no text")?;
    context.output.line(script.trim_end());
    context.output.document("completions", json!({ "shell": args.shell.to_string(), "script": script }), &[]);
    Ok(Outcome::Done)
}

/// Writes the pages of all commands into a folder.
pub fn man(args: ManArgs, context: &Context) -> anyhow::Result<Outcome> {
    let dir = &args.output;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut command = Cli::command();
    command.build();
    let mut written = Vec::new();
    write(&command, dir, &mut written)?;
    context.output.line(format!("wrote {} pages into {}", written.len(), dir.display()));
    let document = json!({ "directory": crate::domain::text::path_text(dir), "pages": written });
    context.output.document("man", document, &[]);
    Ok(Outcome::Done)
}

fn write(command: &clap::Command, dir: &Path, written: &mut Vec<String>) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write(below, dir, written)?;
    }
    let man = Man::new(command.clone()).manual("Bulbil").source(format!("bulbil {}", env!("CARGO_PKG_VERSION")));
    let (name, mut page) = (man.get_filename(), Vec::new());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    page.extend(said_after(command).into_bytes());
    page.extend(b".SH \"EXIT STATUS\"\n0: done. 1: failed. 2: done, but not everything, or something is wrong.\n");
    man.render_version_section(&mut page)?;
    std::fs::write(dir.join(&name), page).with_context(|| format!("cannot write {}", dir.join(&name).display()))?;
    written.push(name);
    Ok(())
}

/// What stands after the options in `--help`: remarks, then examples as they are typed.
fn said_after(command: &clap::Command) -> String {
    let Some(text) = command.get_after_help().map(ToString::to_string) else { return String::new() };
    let (notes, examples) = match text.split_once("Example:\n") {
        Some((notes, examples)) => (notes, examples),
        None if text.contains(":\n  ") => ("", text.as_str()),
        None => (text.as_str(), ""),
    };
    let mut page = String::new();
    for (heading, text) in [("NOTES", notes.trim()), ("EXAMPLES", examples.trim_end())] {
        if !text.is_empty() {
            let lines: Vec<String> = text.lines().map(escaped).collect();
            page += &format!(".SH {heading}\n.nf\n{}\n.fi\n", lines.join("\n"));
        }
    }
    page
}

/// A line as roff shows it: nothing in it is a request, and a `-` is one that can be copied.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}
