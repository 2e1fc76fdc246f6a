//! The variables in an `.env` file, as the program `dotenv` of Node reads it.
//!
//! `NAME=value` or `NAME: value`, one a line, with or without `export`; the name and its `=` stand on one line. A value may stand in single quotes, double quotes or backticks and
//! then go over several lines; in double quotes `\n` and `\r` are line ends. Outside of quotes it ends at a `#`, and white space around it
//! does not count. Of a name that stands there twice the last one counts. What is no such line is passed over.
//!
//! `$NAME` in a value is left as it is: what it would become depends on where the application is started.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

const QUOTES: [char; 3] = ['"', '\'', '`'];

/// Reads the file's text. Values are wiped when they are dropped.
pub fn parse(text: &str) -> BTreeMap<String, Zeroizing<String>> {
    let text = Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n"));
    let mut found = BTreeMap::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        let Some((name, offset)) = name(line) else {
            rest = behind;
            continue;
        };
        // A value in quotes may end on a later line.
        let (value, after) = value(&rest[offset..]);
        found.insert(name.to_owned(), value);
        rest = after.split_once('\n').map_or("", |(_, behind)| behind);
    }
    found
}

/// The name that a line begins with, and where what follows its `=` begins.
fn name(line: &str) -> Option<(&str, usize)> {
    let begun = line.trim_start();
    let exported = begun.strip_prefix("export").filter(|word| word.starts_with([' ', '\t'])).map(str::trim_start);
    // A variable may be called export, too.
    let (name, value) = exported.and_then(assigned).or_else(|| assigned(begun))?;
    Some((name, line.len() - value.len()))
}

/// A name, and what follows its `=`.
fn assigned(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c))).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    let value = match behind.trim_start().strip_prefix('=') {
        Some(value) => value,
        None if behind.starts_with(": ") || behind.starts_with(":\t") => &behind[1..],
        None => return None,
    };
    (!name.is_empty()).then_some((name, value))
}

/// A value, and what stands behind it, from the end of its line on.
fn value(text: &str) -> (Zeroizing<String>, &str) {
    let begun = text.trim_start_matches([' ', '\t']);
    if let Some(quote) = QUOTES.into_iter().find(|quote| begun.starts_with(*quote))
        && let Some(end) = closing(&begun[1..], quote)
    {
        let after = begun[end + 2..].trim_start_matches([' ', '\t']);
        if after.is_empty() || after.starts_with(['\n', '#']) {
            return (unquoted(&begun[1..=end], quote), after);
        }
    }
    let end = text.find(['#', '\n']).unwrap_or(text.len());
    let value = text[..end].trim();
    let quote =
        QUOTES.into_iter().find(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote));
    let value = match quote {
        Some(quote) => unquoted(&value[1..value.len() - 1], quote),
        None => Zeroizing::new(value.to_owned()),
    };
    (value, &text[end..])
}

/// Where the quote ends; a backslash takes the next character along.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = text[at + 1..].starts_with(quote),
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str, quote: char) -> Zeroizing<String> {
    Zeroizing::new(if quote == '"' { text.replace("\\n", "\n").replace("\\r", "\r") } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `dotenv` 16 of Node makes of each.
    #[test]
    fn it_reads_what_dotenv_reads() {
        let text = "\u{feff}A=1\r\n  export B = two words  # a comment\r\nC='s#p $x \\n'\nD=\"a\\nb\"\nE=`back 'tick'`\n# F=no\nG=\nH=a#b\n\
                    I=\"over\nlines\" # yes\nno line at all\nJ: colon\nK=x=y==\nL='open\nM=\"in \\\"side\\\"\"\nN=''\nA=last\nO=' kept '\n\
                    exported=1\nP='a'b'\n=nothing\nexport =x\nQ=end";
        let found = parse(text);
        let expected = [
            ("A", "last"),
            ("B", "two words"),
            ("C", "s#p $x \\n"),
            ("D", "a\nb"),
            ("E", "back 'tick'"),
            ("G", ""),
            ("H", "a"),
            ("I", "over\nlines"),
            ("J", "colon"),
            ("K", "x=y=="),
            ("L", "'open"),
            ("M", "in \\\"side\\\""),
            ("N", ""),
            ("O", " kept "),
            ("P", "a'b"),
            ("Q", "end"),
            ("export", "x"),
            ("exported", "1"),
        ];
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-C=:#'\"`\\\\ \n\r\tü$]{0,40}") {
            let _ = parse(&text);
        }
    }
}
