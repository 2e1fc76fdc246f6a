//! Places in a JSON document, and paths that are made from what stands there.

use serde_json::Value;

/// A place in a JSON document: `user.id`, `participants[].characterId`; `[]` stands for each item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Each,
}

impl FieldPath {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let name = part.trim_end_matches("[]");
            if name.contains(['[', ']']) || (name.is_empty() && part.is_empty()) {
                return Err(format!("the field {text:?}: write it as 'user.id' or 'items[].id'"));
            }
            if !name.is_empty() {
                steps.push(Step::Key(name.to_owned()));
            }
            steps.extend(std::iter::repeat_n(Step::Each, (part.len() - name.len()) / 2));
        }
        Ok(Self(steps))
    }

    /// Calls `each` with everything that stands at this place. What is not there, or of another shape, is passed over.
    pub fn each<'v>(&self, value: &'v Value, each: &mut impl FnMut(&'v Value)) {
        walk(&self.0, value, each);
    }

    /// The first text or number at this place, as a text; none if it is empty.
    pub fn text(&self, value: &Value) -> Option<String> {
        let mut found = None;
        self.each(value, &mut |value| found = found.take().or_else(|| text(value)));
        found
    }
}

fn walk<'v>(steps: &[Step], value: &'v Value, each: &mut impl FnMut(&'v Value)) {
    match steps.split_first() {
        None => each(value),
        Some((Step::Key(key), rest)) => {
            if let Some(inner) = value.get(key) {
                walk(rest, inner, each);
            }
        }
        Some((Step::Each, rest)) => {
            value.as_array().into_iter().flatten().for_each(|inner| walk(rest, inner, each));
        }
    }
}

/// A text or a number as a text; none if it is empty or something else.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A path with fields in it: `storage/{id}{originalFilename.ext}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(FieldPath),
    /// The extension of the name in the field, with its dot, as it is written; nothing if there is none.
    Extension(FieldPath),
}

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (field, behind) =
                after.split_once('}').ok_or_else(|| format!("the path {text:?}: a '{{' without a '}}'"))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(match field.strip_suffix(".ext") {
                Some(field) => Piece::Extension(FieldPath::parse(field)?),
                None => Piece::Field(FieldPath::parse(field)?),
            });
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The path that a record means; none if a field is missing or the path would climb.
    pub fn path(&self, record: &Value) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(field) => out.push_str(&field.text(record)?),
                Piece::Extension(field) => out.push_str(extension(&field.text(record)?)),
            }
        }
        let sound = |name: &str| !name.is_empty() && name != "." && name != "..";
        out.split('/').all(sound).then_some(out)
    }
}

/// As Node's `path.extname`: from the last dot of the last name, unless that begins the name.
fn extension(name: &str) -> &str {
    let base = name.rsplit('/').next().unwrap_or(name);
    match base.rfind('.') {
        Some(at) if at > 0 => &base[at..],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_found_wherever_they_are() {
        let record = json!({ "a": [{ "b": "1" }, { "b": null }, {}, { "b": ["2", "3"] }], "n": 7 });
        let all = |path: &str| {
            let mut found = Vec::new();
            FieldPath::parse(path).unwrap().each(&record, &mut |value| found.extend(text(value)));
            found
        };
        assert_eq!(all("a[].b"), ["1"]);
        assert_eq!(all("a[].b[]"), ["2", "3"]);
        assert_eq!(all("n"), ["7"]);
        assert!(all("x.y").is_empty() && FieldPath::parse("a[0]").is_err() && FieldPath::parse("a..b").is_err());
    }

    #[test]
    fn a_path_is_made_from_fields_and_never_climbs() {
        let path = |name: &str| Template::parse("s/{id}{name.ext}").unwrap().path(&json!({ "id": "7", "name": name }));
        assert_eq!(path("a.b.PNG").as_deref(), Some("s/7.PNG"));
        assert_eq!(path("none").as_deref(), Some("s/7"));
        assert_eq!(path(".hidden").as_deref(), Some("s/7"));
        assert_eq!(Template::parse("s/{id}").unwrap().path(&json!({ "id": "../../etc" })), None);
        assert_eq!(Template::parse("s/{id}").unwrap().path(&json!({})), None);
        assert!(Template::parse("s/{id").is_err());
    }
}
