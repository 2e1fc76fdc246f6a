//! Reading: what Python's `json.loads` accepts, in bounds.

use super::{Int, Object, Text, Value};

/// Most levels of arrays and objects inside each other. Python's own limit is about 1,000.
pub const MAX_DEPTH: usize = 256;
/// Most digits of an integer: Python 3.11 refuses longer ones too.
pub const MAX_DIGITS: usize = 4300;

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not UTF-8.
    #[error("this is not JSON: it is not UTF-8")]
    NotUtf8,
    /// Something else than JSON stands at a place.
    #[error("this is not JSON: the mistake is at byte {at}")]
    Unexpected {
        /// Where, counted in bytes from 0.
        at: usize,
    },
    /// Over [`MAX_DEPTH`].
    #[error("this JSON has more than {MAX_DEPTH} levels, which is not accepted")]
    TooDeep,
    /// Over [`MAX_DIGITS`].
    #[error("this JSON has a whole number of more than {MAX_DIGITS} digits, which is not accepted")]
    TooManyDigits,
}

impl Value {
    /// Reads one JSON text in UTF-8 without byte order mark.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ParseError::NotUtf8)?;
        let mut parser = Parser { text, at: 0 };
        parser.skip_space();
        let value = parser.value(0)?;
        parser.skip_space();
        if parser.at == text.len() { Ok(value) } else { Err(parser.wrong()) }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn wrong(&self) -> ParseError {
        ParseError::Unexpected { at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips `word` if it stands here.
    fn take(&mut self, word: &str) -> bool {
        let here = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if here {
            self.at += word.len();
        }
        here
    }

    fn value(&mut self, depth: usize) -> Result<Value, ParseError> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Value::Text(self.string()?)),
            _ if self.take("null") => Ok(Value::Null),
            _ if self.take("true") => Ok(Value::Bool(true)),
            _ if self.take("false") => Ok(Value::Bool(false)),
            _ if self.take("NaN") => Ok(Value::Float(f64::NAN)),
            _ if self.take("Infinity") => Ok(Value::Float(f64::INFINITY)),
            _ if self.take("-Infinity") => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth == MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        self.at += 1;
        let mut object = Object::new();
        self.skip_space();
        if self.take("}") {
            return Ok(Value::Object(object));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong());
            }
            let field = self.string()?;
            self.skip_space();
            if !self.take(":") {
                return Err(self.wrong());
            }
            self.skip_space();
            let value = self.value(depth + 1)?;
            object.set(field, value);
            self.skip_space();
            if self.take("}") {
                return Ok(Value::Object(object));
            }
            if !self.take(",") {
                return Err(self.wrong());
            }
            self.skip_space();
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth == MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        self.at += 1;
        let mut values = Vec::new();
        self.skip_space();
        if self.take("]") {
            return Ok(Value::List(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take("]") {
                return Ok(Value::List(values));
            }
            if !self.take(",") {
                return Err(self.wrong());
            }
            self.skip_space();
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        self.take("-");
        if !self.take("0") && self.digits() == 0 {
            return Err(self.wrong());
        }
        let whole_end = self.at;
        // A point or an exponent without digits belongs to no number: what follows the whole part is then refused.
        if self.take(".") && self.digits() == 0 {
            return Err(self.wrong());
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            if self.digits() == 0 {
                return Err(self.wrong());
            }
        }
        let text = &self.text[start..self.at];
        if self.at == whole_end {
            if text.len() > MAX_DIGITS + usize::from(text.starts_with('-')) {
                return Err(ParseError::TooManyDigits);
            }
            return Ok(Value::Int(Int::from_digits(text)));
        }
        // Past the largest float stands infinity, as in Python.
        text.parse().map(Value::Float).map_err(|_| self.wrong())
    }

    fn string(&mut self) -> Result<Text, ParseError> {
        self.at += 1;
        let mut out = Text::default();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                _ => return Err(self.wrong()), // the end, or a control character
            }
        }
    }

    fn escape(&mut self, out: &mut Text) -> Result<(), ParseError> {
        let plain = match self.peek() {
            Some(b'"') => "\"",
            Some(b'\\') => "\\",
            Some(b'/') => "/",
            Some(b'b') => "\u{8}",
            Some(b'f') => "\u{c}",
            Some(b'n') => "\n",
            Some(b'r') => "\r",
            Some(b't') => "\t",
            Some(b'u') => {
                let digits = self.text.as_bytes().get(self.at + 1..self.at + 5).ok_or(self.wrong())?;
                let mut unit = 0;
                for digit in digits {
                    let digit = char::from(*digit).to_digit(16).ok_or(self.wrong())?;
                    unit = unit << 4 | u16::try_from(digit).expect("a hex digit is small");
                }
                self.at += 5;
                out.push_unit(unit);
                return Ok(());
            }
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        out.push_str(plain);
        Ok(())
    }
}
