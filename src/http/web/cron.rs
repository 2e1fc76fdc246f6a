//! When something is done, in words: for the patterns that people use most.

/// A cron pattern as people say it; none for one that is best read as it is.
pub(super) fn in_words(pattern: &str) -> Option<String> {
    match pattern {
        "@hourly" => return Some("every hour, on the hour".to_owned()),
        "@daily" | "@midnight" => return Some("every day at 00:00".to_owned()),
        "@weekly" => return Some("every Sunday at 00:00".to_owned()),
        "@monthly" => return Some("on the 1st of each month at 00:00".to_owned()),
        "@yearly" | "@annually" => return Some("on 1 January at 00:00".to_owned()),
        _ => {}
    }
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else { return None };
    let minute: u8 = minute.parse().ok()?;
    if *month != "*" {
        return None;
    }
    if let Some(step) = hour.strip_prefix("*/") {
        let step: u8 = step.parse().ok().filter(|step| *step > 0 && 24 % step == 0)?;
        let every = if step == 1 { "every hour".to_owned() } else { format!("every {step} hours") };
        let every_day = *day == "*" && *weekday == "*";
        return every_day.then(|| format!("{every}, at minute {minute}"));
    }
    if *hour == "*" {
        return (*day == "*" && *weekday == "*").then(|| format!("every hour, at minute {minute}"));
    }
    let hour: u8 = hour.parse().ok()?;
    let at = format!("{hour:02}:{minute:02}");
    match (*day, *weekday) {
        ("*", "*") => Some(format!("every day at {at}")),
        ("*", weekday) => {
            let names = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
            let name = names.get(weekday.parse::<usize>().ok()?)?;
            Some(format!("every {name} at {at}"))
        }
        (day, "*") => Some(format!("on day {} of each month at {at}", day.parse::<u8>().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_use_is_said_in_words() {
        for (pattern, words) in [
            ("30 2 * * *", Some("every day at 02:30")),
            ("0 4 * * 0", Some("every Sunday at 04:00")),
            ("0 5 1 * *", Some("on day 1 of each month at 05:00")),
            ("15 */6 * * *", Some("every 6 hours, at minute 15")),
            ("5 * * * *", Some("every hour, at minute 5")),
            ("0 */1 * * *", Some("every hour, at minute 0")),
            ("0 */7 * * *", None),
            ("0 */0 * * *", None),
            ("@weekly", Some("every Sunday at 00:00")),
            ("0 4 13 * 5", None),
            ("*/5 * * * *", None),
            ("0 4 * 1 *", None),
        ] {
            assert_eq!(in_words(pattern).as_deref(), words, "{pattern}");
        }
    }
}
