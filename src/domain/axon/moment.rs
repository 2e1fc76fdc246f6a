//! Points in time as Axon writes and accepts them: ISO 8601 with a zone, microseconds.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// Longest text that is looked at, in bytes.
const MAX_LEN: usize = 48;

/// Reads `2026-11-21T20:47:37.062414+00:00` and its variants: a space for the `T`, no seconds, no fraction or one of 1 to 9
/// digits, `Z` or an offset, no zone (then UTC), a date alone (then midnight). Unix seconds and everything else is refused.
pub fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > MAX_LEN || !text.is_ascii() {
        return None;
    }
    let (date, rest) = text.split_at_checked(10)?;
    let date = self::date(date)?;
    if rest.is_empty() {
        return Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).ok();
    }
    let rest = rest.strip_prefix(['T', ' '])?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let (clock, fraction) = match time.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (time, None),
    };
    let (hour, minute, second) = match clock.split(':').collect::<Vec<_>>()[..] {
        [hour, minute] if fraction.is_none() => (two(hour)?, two(minute)?, 0),
        [hour, minute, second] => (two(hour)?, two(minute)?, two(second)?),
        _ => return None,
    };
    let nanoseconds = match fraction {
        None => 0,
        Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<9}").parse().ok()?
        }
        Some(_) => return None,
    };
    let time = Time::new(hour, minute, second, nanoseconds).ok()?;
    let east_of_utc = offset(zone)?;
    let here = Offset::UTC.to_timestamp(DateTime::from_parts(date, time)).ok()?;
    here.checked_sub(east_of_utc).ok()
}

/// Writes a moment as a real instance does: UTC, microseconds, no fraction if it is zero.
pub fn format(at: Timestamp) -> String {
    let civil = Offset::UTC.to_datetime(at);
    let micros = civil.subsec_nanosecond() / 1000;
    let whole = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second()
    );
    if micros == 0 { format!("{whole}+00:00") } else { format!("{whole}.{micros:06}+00:00") }
}

fn date(text: &str) -> Option<Date> {
    let [year, month, day] = text.split('-').collect::<Vec<_>>()[..] else { return None };
    let year: i16 = (year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit())).then(|| year.parse().ok())??;
    if year == 0 {
        return None;
    }
    Date::new(year, two(month)?, two(day)?).ok()
}

fn two(text: &str) -> Option<i8> {
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `Z`, `+02:00`, `+0200`, `+02`, or nothing.
fn offset(zone: &str) -> Option<SignedDuration> {
    if zone.is_empty() || zone == "Z" {
        return Some(SignedDuration::ZERO);
    }
    let (sign, digits) = zone.split_at(1);
    let (hours, minutes) = match (digits.len(), digits.split_once(':')) {
        (5, Some((hours, minutes))) => (two(hours)?, two(minutes)?),
        (4, None) => (two(&digits[..2])?, two(&digits[2..])?),
        (2, None) => (two(digits)?, 0),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let size = SignedDuration::from_mins(i64::from(hours) * 60 + i64::from(minutes));
    match sign {
        "+" => Some(size),
        "-" => Some(-size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_and_refused_forms() {
        let at: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        for text in [
            "2026-01-02T03:04:05.500000+00:00",
            "2026-01-02T03:04:05.5Z",
            "2026-01-02 03:04:05.500000000",
            "2026-01-02T05:34:05.5+02:30",
            "2026-01-01T22:04:05.5-0500",
        ] {
            assert_eq!(parse(text), Some(at), "{text}");
        }
        for text in [
            "",
            "1767323045",
            "1767323045.5",
            "yesterday",
            "2026-01-02T03:04:05.",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-13-02T03:04:05Z",
            "2026-01-02T25:04:05Z",
            "2026-1-2T03:04:05Z",
            "2026-01-02T03:04:05ZZ",
            "2026-01-02T03:04:05+24:00",
            "0000-01-02",
            "2026-01-02T03:04:05+00:00 ",
            "+026-01-02",
            "2026-01-02T+3:04",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(parse("0001-01-01T00:00:00+00:00").unwrap()), "0001-01-01T00:00:00+00:00");
        assert_eq!(parse("2026-01-02"), parse("2026-01-02T00:00Z"));
    }

    #[test]
    fn written_with_microseconds_or_none() {
        for text in ["2026-11-21T20:47:37.062414+00:00", "2026-11-21T20:47:37+00:00"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }
}
