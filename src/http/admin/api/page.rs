//! Lists, a page at a time: `limit` says how many, `cursor` where to go on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::problem::Problem;

/// Entries of a page, if nobody says how many.
const DEFAULT: u32 = 50;
/// Most entries of a page.
const MOST: u32 = 500;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; absent on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// All there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// Of `found`, which holds one more than `limit` if there is more. `place` says after which one the next page begins.
    pub fn of(mut found: Vec<T>, limit: u32, place: impl Fn(&T) -> String) -> Self {
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next_cursor = found.last().filter(|_| more).map(place);
        Self { items: found, next_cursor }
    }
}

/// How many entries a page has.
///
/// # Errors
/// A problem, if that is none or too many.
pub fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(DEFAULT) {
        limit @ 1..=MOST => Ok(limit),
        _ => Err(Problem::malformed(format!("limit is a number from 1 to {MOST}"))),
    }
}

/// A cursor that is a number.
///
/// # Errors
/// A problem, if it is none.
pub fn number(cursor: Option<&str>) -> Result<Option<i64>, Problem> {
    let parse = |text: &str| text.parse().map_err(|_| Problem::malformed("the cursor is none of this list"));
    cursor.map(parse).transpose()
}
