//! The pages for which nobody need have logged in, and the one that asks for the password again.

use maud::{Markup, html};

use super::layout::bare;
use crate::domain::access::{MIN_CHARS, PasswordError};

/// In which field the page that asks for the password sends it, so that it is no field of the form that waits.
const AGAIN_PASSWORD: &str = "again-password";
/// The same for the code.
const AGAIN_CODE: &str = "again-code";

/// A form that was sent, and waits until the password was typed.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// Where it was sent.
    pub action: &'a str,
    /// The token of the session.
    pub csrf: &'a str,
    /// Which form it is. What was filled in stays with the server.
    pub ticket: &'a str,
    /// The path of its page.
    pub back: &'a str,
}

/// Why the page is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The password or the code is wrong.
    Wrong,
    /// The code of the set-up is wrong.
    WrongSetup,
    /// Too many attempts.
    Wait {
        /// Until the next one.
        seconds: u64,
    },
    /// The two passwords differ.
    NotTheSame,
    /// It is not taken as a password.
    NotTaken(PasswordError),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wrong => f.write_str("That was not right. Check the password, and the code if you use one: each code is good once."),
            Self::WrongSetup => f.write_str(
                "That is not the code of the server that runs now. Take the one that 'bulbil serve' printed when it started, or set the password with 'bulbil password set' on the machine.",
            ),
            Self::Wait { seconds: 1 } => f.write_str("Too many attempts. Try again in a second."),
            Self::Wait { seconds } => write!(f, "Too many attempts. Try again in {seconds} seconds."),
            Self::NotTheSame => f.write_str("The two passwords differ. Type the same one twice."),
            Self::NotTaken(error) => {
                let text = error.to_string();
                let mut letters = text.chars();
                let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
                write!(f, "{first}{}.", letters.as_str())
            }
        }
    }
}

/// Asks for password and code; afterwards it goes on at `next`.
pub fn login_page(next: &str, asks_for_code: bool, said: Option<Said>) -> Markup {
    bare(
        "Log in",
        &html! {
            div.card {
                (wrong(said))
                form method="post" action="/login" {
                    input type="hidden" name="next" value=(next);
                    (password("Password", "password", "current-password"))
                    @if asks_for_code { (code("code")) }
                    div.actions { button.button type="submit" { "Log in" } }
                }
            }
            p.small.soft { "Forgotten? On the machine itself, " code { "bulbil password set" } " sets a new one." }
        },
    )
}

/// Asks for them again before something dangerous; afterwards it goes on at `next`.
pub fn confirm_page(csrf: &str, next: &str, asks_for_code: bool, said: Option<Said>) -> Markup {
    bare(
        "Is it you?",
        &html! {
            p { "What comes next cannot be undone, or shows a secret. Type your password once more." }
            div.card {
                (wrong(said))
                form method="post" action="/confirm" {
                    input type="hidden" name="csrf" value=(csrf);
                    input type="hidden" name="next" value=(next);
                    (password("Password", "password", "current-password"))
                    @if asks_for_code { (code("code")) }
                    div.actions {
                        button.button type="submit" { "Go on" }
                        a.button.quiet href="/" { "Back to the overview" }
                    }
                }
            }
        },
    )
}

/// Asks for them before what was sent is done.
pub fn again_page(waiting: &Waiting, asks_for_code: bool, said: Option<Said>) -> Markup {
    bare(
        "Is it you?",
        &html! {
            p { "What you asked for cannot be undone, or shows a secret. Type your password once more, and it is done." }
            div.card {
                (wrong(said))
                form method="post" action=(waiting.action) {
                    input type="hidden" name="csrf" value=(waiting.csrf);
                    input type="hidden" name="back" value=(waiting.back);
                    input type="hidden" name="again-ticket" value=(waiting.ticket);
                    (password("Password", AGAIN_PASSWORD, "current-password"))
                    @if asks_for_code { (code(AGAIN_CODE)) }
                    div.actions {
                        button.button type="submit" { "Go on" }
                        a.button.quiet href=(waiting.back) { "Leave it" }
                    }
                }
            }
        },
    )
}

/// Asks for the code of the set-up and for a first password.
pub fn setup_page(setup: &str, said: Option<Said>) -> Markup {
    bare(
        "Set a password",
        &html! {
            p { "Nobody can log in to this instance in a browser yet. Choose the password for it." }
            div.card {
                (wrong(said))
                form method="post" action="/setup" {
                    div.field {
                        label for="code" { "Code" }
                        p.hint id="code-hint" { "'bulbil serve' printed it when it started." }
                        input id="code" name="code" value=(setup) autocomplete="off" autocapitalize="none" spellcheck="false"
                            aria-describedby="code-hint" required;
                    }
                    div.field {
                        label for="password" { "Password" }
                        p.hint id="password-hint" { "At least " (MIN_CHARS) " characters. A few words that nobody would guess are good." }
                        input id="password" name="password" type="password" autocomplete="new-password" maxlength="1024"
                            aria-describedby="password-hint" required;
                    }
                    (password("The same again", "again", "new-password"))
                    div.actions { button.button type="submit" { "Set the password and log in" } }
                }
            }
        },
    )
}

/// Asks for another password, of somebody who typed the one of now a moment ago.
pub fn password_page(csrf: &str, said: Option<Said>) -> Markup {
    bare(
        "Change the password",
        &html! {
            p { "Every other browser is logged out by it. Tokens, and codes of an authenticator app, stay as they are." }
            div.card {
                (wrong(said))
                form method="post" action="/settings/password" {
                    input type="hidden" name="csrf" value=(csrf);
                    input type="hidden" name="back" value="/settings/password";
                    div.field {
                        label for="password" { "New password" }
                        p.hint id="password-hint" { "At least " (MIN_CHARS) " characters. A few words that nobody would guess are good." }
                        input id="password" name="password" type="password" autocomplete="new-password" maxlength="1024"
                            aria-describedby="password-hint" required;
                    }
                    (password("The same again", "again", "new-password"))
                    div.actions {
                        button.button type="submit" { "Change the password" }
                        a.button.quiet href="/settings" { "Back to the settings" }
                    }
                }
            }
        },
    )
}

fn wrong(said: Option<Said>) -> Markup {
    html! { @if let Some(said) = said { div.trouble.bad role="alert" { p { (said.to_string()) } } } }
}

fn password(label: &str, name: &str, autocomplete: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) name=(name) type="password" autocomplete=(autocomplete) maxlength="1024" required;
        }
    }
}

fn code(name: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { "Code from your authenticator app" }
            input id=(name) name=(name) inputmode="numeric" autocomplete="one-time-code" maxlength="12" required;
        }
    }
}
