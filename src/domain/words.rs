//! Numbers, sizes and times in words, as people read them: the same on the command line and on pages.

/// Bytes for people: `512 B`, `1.4 MB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with thousands apart: `42 000`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 file`, `3 files`.
pub fn count(n: u64, noun: &str) -> String {
    let (stem, plural) = if n == 1 {
        (noun.to_owned(), "")
    } else if let Some(stem) = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o'])) {
        (stem.to_owned(), "ies")
    } else {
        (noun.to_owned(), "s")
    };
    format!("{} {stem}{plural}", number(n))
}

/// How long something took: `0.4 s`, `3 min 12 s`.
pub fn took(duration: std::time::Duration) -> String {
    let secs = duration.as_secs();
    if secs >= 3600 {
        format!("{} h {} min", secs / 3600, secs / 60 % 60)
    } else if secs >= 60 {
        format!("{} min {} s", secs / 60, secs % 60)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// An estimate, from seconds: `less than a minute`, `about 28 minutes`, `about 5 hours`.
pub fn about(secs: u64) -> String {
    match secs {
        ..60 => "less than a minute".to_owned(),
        60..7200 => format!("about {}", count(secs / 60, "minute")),
        7200..172_800 => format!("about {}", count(secs / 3600, "hour")),
        _ => format!("about {}", count(secs / 86_400, "day")),
    }
}

/// How long ago something was, from seconds: `just now`, `5 minutes`, `3 days`.
pub fn age(secs: i64) -> String {
    match secs {
        ..60 => "just now".to_owned(),
        60..3600 => format!("{} ago", count((secs / 60) as u64, "minute")),
        3600..172_800 => format!("{} ago", count((secs / 3600) as u64, "hour")),
        _ => format!("{} ago", count((secs / 86_400) as u64, "day")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_400_000), "1.4 MB");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(count(1, "directory"), "1 directory");
        assert_eq!(count(2, "directory"), "2 directories");
        assert_eq!(age(3 * 86_400), "3 days ago");
        assert_eq!(age(60), "1 minute ago");
    }
}
