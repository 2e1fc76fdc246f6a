//! JSON as Python reads and writes it: what Axon BBS hashes is the very bytes that `json.dumps(…, sort_keys=True)` writes.
//!
//! A [`Value`] keeps what other JSON types lose: integers of any length, the difference of `1` and `1.0`, lone surrogates, the
//! order of fields. [`Value::parse`] accepts what Python's `json.loads` accepts (a doubled key: the last value at the first
//! place; `NaN` and `Infinity` too, since a real instance may hold them and their bytes are hashed), within bounds of its
//! own: [`MAX_DEPTH`] levels, [`MAX_DIGITS`] digits. The length is the caller's to bound.

mod parse;
mod text;
mod write;

use indexmap::IndexMap;

pub use parse::{MAX_DEPTH, MAX_DIGITS, ParseError};
pub use text::Text;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number without fraction and exponent.
    Int(Int),
    /// A number with fraction or exponent; `NaN`, `Infinity`.
    Float(f64),
    /// A string.
    Text(Text),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Object(Object),
}

/// An integer of any length up to [`MAX_DIGITS`] digits, kept as decimal digits: no leading zeros, no `-0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Int(Box<str>);

impl Int {
    /// The decimal digits, with a leading `-` for negative ones.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number, if it fits.
    pub fn to_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// Takes over digits that the parser has checked.
    fn from_digits(digits: &str) -> Self {
        Self(if digits == "-0" { "0" } else { digits }.into())
    }
}

/// An object: fields in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object(IndexMap<Text, Value>);

/// A field that is missing or holds something else than it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Not an object at all.
    #[error("a JSON object was expected here")]
    NotAnObject,
    /// Not an array at all.
    #[error("a JSON array was expected here")]
    NotAList,
    /// The field is not there.
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
    /// The field holds something else.
    #[error("the field {field:?} must be {expected}")]
    Unexpected {
        /// The field's name.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
}

impl Object {
    /// An object without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field.as_bytes())
    }

    /// Sets a field: in its place if it is there already, else at the end.
    pub fn set(&mut self, field: impl Into<Text>, value: impl Into<Value>) {
        self.0.insert(field.into(), value.into());
    }

    /// Sets a field at the end and gives the object back; for building.
    #[must_use]
    pub fn with(mut self, field: impl Into<Text>, value: impl Into<Value>) -> Self {
        self.set(field, value);
        self
    }

    /// Removes a field; the others keep their order.
    pub fn remove(&mut self, field: &str) -> Option<Value> {
        self.0.shift_remove(field.as_bytes())
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.0.iter()
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// [`ShapeError::Missing`].
    pub fn need(&self, field: &'static str) -> Result<&Value, ShapeError> {
        self.get(field).ok_or(ShapeError::Missing(field))
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn need_text(&self, field: &'static str) -> Result<&Text, ShapeError> {
        match self.need(field)? {
            Value::Text(text) => Ok(text),
            _ => Err(ShapeError::Unexpected { field, expected: "a string" }),
        }
    }

    /// A string of valid Unicode that must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn need_str(&self, field: &'static str) -> Result<&str, ShapeError> {
        self.need_text(field)?.as_str().ok_or(ShapeError::Unexpected { field, expected: "a string of valid Unicode" })
    }

    /// A string that may be missing or `null`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn optional_text(&self, field: &'static str) -> Result<Option<&Text>, ShapeError> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(ShapeError::Unexpected { field, expected: "a string or null" }),
        }
    }

    /// A whole number of 64 bits that must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn need_int(&self, field: &'static str) -> Result<i64, ShapeError> {
        self.optional_int(field)?.ok_or(ShapeError::Missing(field))
    }

    /// A whole number of 64 bits that may be missing or `null`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn optional_int(&self, field: &'static str) -> Result<Option<i64>, ShapeError> {
        let wrong = ShapeError::Unexpected { field, expected: "a whole number of at most 64 bits" };
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Int(int)) => int.to_i64().map(Some).ok_or(wrong),
            Some(_) => Err(wrong),
        }
    }

    /// `true` or `false`, which must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn need_bool(&self, field: &'static str) -> Result<bool, ShapeError> {
        match self.need(field)? {
            Value::Bool(value) => Ok(*value),
            _ => Err(ShapeError::Unexpected { field, expected: "true or false" }),
        }
    }

    /// An array that must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn need_list(&self, field: &'static str) -> Result<&[Value], ShapeError> {
        match self.need(field)? {
            Value::List(values) => Ok(values),
            _ => Err(ShapeError::Unexpected { field, expected: "an array" }),
        }
    }

    /// An object that must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn need_object(&self, field: &'static str) -> Result<&Object, ShapeError> {
        match self.need(field)? {
            Value::Object(object) => Ok(object),
            _ => Err(ShapeError::Unexpected { field, expected: "an object" }),
        }
    }

    /// A moment in ISO 8601 form that must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn need_moment(&self, field: &'static str) -> Result<jiff::Timestamp, ShapeError> {
        super::moment::parse(self.need_str(field)?)
            .ok_or(ShapeError::Unexpected { field, expected: "a date and time in ISO 8601 form" })
    }
}

impl Value {
    /// The object, if it is one.
    ///
    /// # Errors
    /// [`ShapeError::NotAnObject`].
    pub fn into_object(self) -> Result<Object, ShapeError> {
        match self {
            Self::Object(object) => Ok(object),
            _ => Err(ShapeError::NotAnObject),
        }
    }

    /// The elements, if it is an array.
    ///
    /// # Errors
    /// [`ShapeError::NotAList`].
    pub fn into_list(self) -> Result<Vec<Value>, ShapeError> {
        match self {
            Self::List(values) => Ok(values),
            _ => Err(ShapeError::NotAList),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Int(value.to_string().into()))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::List(values)
    }
}

/// `null` for nothing.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests;
