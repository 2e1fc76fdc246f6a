//! A typed reading of an object that keeps the object: fields that we do not know, and the order of all.

use std::ops::Deref;

use super::json::{Object, ParseError, ShapeError, Value};

/// A type that is read from a JSON object and written as one.
pub trait Fields: Sized {
    /// Reads the fields; others are not looked at.
    ///
    /// # Errors
    /// The first field that is missing or holds something else.
    fn read(object: &Object) -> Result<Self, ShapeError>;

    /// Writes the fields in the order in which Axon has them.
    fn write(&self) -> Object;
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// JSON of another shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// A `T` and the object that it was read from. It cannot be changed, so both always say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<T> {
    fields: T,
    object: Object,
}

impl<T: Fields> Kept<T> {
    /// Writes a new object.
    pub fn new(fields: T) -> Self {
        Self { object: fields.write(), fields }
    }

    /// Reads an object and keeps it.
    ///
    /// # Errors
    /// As [`Fields::read`]; [`ShapeError::NotAnObject`].
    pub fn from_value(value: Value) -> Result<Self, ShapeError> {
        let object = value.into_object()?;
        Ok(Self { fields: T::read(&object)?, object })
    }

    /// Reads a JSON text.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        Ok(Self::from_value(Value::parse(bytes)?)?)
    }

    /// The object as it was read, or as [`Fields::write`] made it.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The object as a value, to be written.
    pub fn to_value(&self) -> Value {
        Value::Object(self.object.clone())
    }

    /// The fields alone.
    pub fn into_fields(self) -> T {
        self.fields
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.fields
    }
}
