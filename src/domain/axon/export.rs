//! The exported configuration: a list of database rows, each with its model.

use super::json::{Object, ShapeError, Value};
use super::kept::{DocumentError, Fields, Kept};

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `core.user`, `core.validfiletype`, `applets.applet`, `applets.appletcategory`, `messaging.messageboard`; a peer may
    /// say anything.
    pub model: String,
    /// Its primary key: a number, or a UUID's text.
    pub pk: Value,
    /// Its columns.
    pub fields: Object,
}

impl Fields for Row {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self {
            model: object.need_str("model")?.to_owned(),
            pk: object.need("pk")?.clone(),
            fields: object.need_object("fields")?.clone(),
        })
    }

    fn write(&self) -> Object {
        Object::new().with("model", self.model.as_str()).with("pk", self.pk.clone()).with("fields", self.fields.clone())
    }
}

/// Reads an exported configuration.
///
/// # Errors
/// If it is not JSON, not an array, or a row lacks one of its three fields.
pub fn parse(bytes: &[u8]) -> Result<Vec<Kept<Row>>, DocumentError> {
    let rows = Value::parse(bytes)?.into_list()?;
    Ok(rows.into_iter().map(Kept::from_value).collect::<Result<_, _>>()?)
}

/// Writes a configuration as Axon exports it: one line of raw UTF-8.
pub fn write(rows: &[Kept<Row>]) -> String {
    Value::List(rows.iter().map(Kept::to_value).collect()).to_raw_line()
}
