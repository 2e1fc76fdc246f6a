//! The exported configuration: a list of database rows, each with its model.

use super::json::{Object, ShapeError, Value};
use super::kept::{DocumentError, Fields, Kept};

/// The model of users' accounts.
pub const USER: &str = "core.user";
/// The model of file types that may be uploaded.
pub const FILE_TYPE: &str = "core.validfiletype";
/// The model of applets.
pub const APPLET: &str = "applets.applet";
/// The model of applets' categories.
pub const CATEGORY: &str = "applets.appletcategory";
/// The model of message boards.
pub const BOARD: &str = "messaging.messageboard";

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// [`USER`], [`FILE_TYPE`], [`APPLET`], [`CATEGORY`], [`BOARD`]; a peer may say anything.
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

/// Whether the columns of a user say that it is a superuser: everything but a plain no is a yes.
pub fn is_superuser(user: &Object) -> bool {
    match user.get("is_superuser") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Int(int)) => int.to_i64() != Some(0),
        Some(_) => true,
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
