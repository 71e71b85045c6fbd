//! Strict JSON (contract section 9): no repeated members, no number with fraction or exponent, integers below 2^53, depth at
//! most 16, UTF-8. A reader of its own, because general ones accept most of this or recurse as deep as the sender likes.

use serde_json::{Map, Value};

/// Most bytes of one message from the cloud (contract section 2).
pub const MAX_BYTES: usize = 64 * 1024;
/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 16;
/// Integers stay below this in magnitude (2^53), so that every JSON reader keeps them exact.
pub const INTEGER_LIMIT: i64 = 1 << 53;
/// A longer member name is left out of a pointer, which then names the object that holds it.
const LONGEST_POINTER_STEP: usize = 128;

/// The text is not the JSON that the contract allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} at \"{at}\"")]
pub struct Fault {
    /// JSON pointer (RFC 6901) to the value, or to the innermost one that was begun; empty for the whole text.
    pub at: String,
    /// What is wrong there.
    pub why: Wrong,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Longer than the caller allows.
    #[error("the text is too long")]
    TooLong,
    /// Bytes that are no UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The rules of JSON are broken.
    #[error("this is not JSON")]
    Syntax,
    /// A member name occurs twice in one object.
    #[error("the member is repeated")]
    Repeated,
    /// Only integers are allowed.
    #[error("a number has a fraction or an exponent")]
    NotInteger,
    /// 2^53 or more in magnitude.
    #[error("an integer is not below 2^53")]
    TooLarge,
    /// More than 16 levels.
    #[error("the nesting is deeper than 16")]
    TooDeep,
}

/// Reads a text of at most [`MAX_BYTES`].
///
/// # Errors
/// [`Fault`] with a pointer to the offending value.
pub fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    parse_up_to(bytes, MAX_BYTES)
}

/// Reads a text of at most `longest` bytes.
///
/// # Errors
/// [`Fault`] with a pointer to the offending value.
pub fn parse_up_to(bytes: &[u8], longest: usize) -> Result<Value, Fault> {
    let whole = |why| Fault { at: String::new(), why };
    if bytes.len() > longest {
        return Err(whole(Wrong::TooLong));
    }
    let text = core::str::from_utf8(bytes).map_err(|_| whole(Wrong::NotUtf8))?;
    let mut reader = Reader { text, position: 0, path: Vec::new() };
    let read = reader.value(0).and_then(|value| {
        reader.skip_space();
        if reader.position == text.len() { Ok(value) } else { Err(Wrong::Syntax) }
    });
    read.map_err(|why| Fault { at: reader.pointer(), why })
}

/// One member name or index as a step of a JSON pointer.
fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    for c in step.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
    /// Names and indices down to the value being read; kept as it was when an error came up.
    path: Vec<String>,
}

impl Reader<'_> {
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            if step.len() > LONGEST_POINTER_STEP {
                break;
            }
            push_step(&mut pointer, step);
        }
        pointer
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.peek() == Some(byte) {
            self.position += 1;
            Ok(())
        } else {
            Err(Wrong::Syntax)
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Wrong> {
        self.skip_space();
        match self.peek().ok_or(Wrong::Syntax)? {
            b'{' | b'[' if depth == MAX_DEPTH => Err(Wrong::TooDeep),
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.string().map(Value::String),
            b'-' | b'0'..=b'9' => self.integer(),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => Err(Wrong::Syntax),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Wrong> {
        if self.text.as_bytes()[self.position..].starts_with(word.as_bytes()) {
            self.position += word.len();
            Ok(value)
        } else {
            Err(Wrong::Syntax)
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Wrong> {
        self.position += 1;
        let mut members = Map::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.position += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(Wrong::Syntax);
            }
            let name = self.string()?;
            self.path.push(name.clone());
            if members.contains_key(&name) {
                return Err(Wrong::Repeated);
            }
            self.skip_space();
            self.expect(b':')?;
            let value = self.value(depth)?;
            self.path.pop();
            members.insert(name, value);
            self.skip_space();
            if self.peek() == Some(b',') {
                self.position += 1;
            } else {
                self.expect(b'}')?;
                return Ok(Value::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Wrong> {
        self.position += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.position += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.path.push(items.len().to_string());
            let item = self.value(depth)?;
            self.path.pop();
            items.push(item);
            self.skip_space();
            if self.peek() == Some(b',') {
                self.position += 1;
            } else {
                self.expect(b']')?;
                return Ok(Value::Array(items));
            }
        }
    }

    fn integer(&mut self) -> Result<Value, Wrong> {
        let start = self.position;
        if self.peek() == Some(b'-') {
            self.position += 1;
        }
        let digits_from = self.position;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.position += 1;
        }
        let digits = &self.text[digits_from..self.position];
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(Wrong::Syntax);
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(Wrong::NotInteger);
        }
        let number: i64 = self.text[start..self.position].parse().map_err(|_| Wrong::TooLarge)?;
        if number <= -INTEGER_LIMIT || number >= INTEGER_LIMIT {
            return Err(Wrong::TooLarge);
        }
        Ok(Value::from(number))
    }

    fn string(&mut self) -> Result<String, Wrong> {
        self.position += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.position..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').ok_or(Wrong::Syntax)?;
            text.push_str(&rest[..plain]);
            self.position += plain;
            match self.peek() {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.position += 1;
                    text.push(self.escape()?);
                }
                // A bare control character (RFC 8259 section 7).
                _ => return Err(Wrong::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Wrong> {
        let byte = self.peek().ok_or(Wrong::Syntax)?;
        self.position += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    let second = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&second) {
                        return Err(Wrong::Syntax);
                    }
                    0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                } else {
                    first
                };
                // Half a surrogate pair is no character.
                char::from_u32(code).ok_or(Wrong::Syntax)?
            }
            _ => return Err(Wrong::Syntax),
        })
    }

    fn hex4(&mut self) -> Result<u32, Wrong> {
        let digits = self.text.as_bytes().get(self.position..self.position + 4).ok_or(Wrong::Syntax)?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + char::from(*digit).to_digit(16).ok_or(Wrong::Syntax)?;
        }
        self.position += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_contract_forbids_is_refused_with_its_place() {
        let deep_enough = format!("{}1{}", "[".repeat(16), "]".repeat(16));
        assert!(parse(deep_enough.as_bytes()).is_ok());
        let table: &[(&[u8], &str, Wrong)] = &[
            (br#"{"a":{"b":1,"b":2}}"#, "/a/b", Wrong::Repeated),
            (br#"{"a":1,"\u0061":2}"#, "/a", Wrong::Repeated),
            (br#"{"a":[0,1.0]}"#, "/a/1", Wrong::NotInteger),
            (br#"{"a":1e400}"#, "/a", Wrong::NotInteger),
            (br#"{"a/b":{"~":1E2}}"#, "/a~1b/~0", Wrong::NotInteger),
            (br#"{"n":9007199254740992}"#, "/n", Wrong::TooLarge),
            (br#"{"n":-9007199254740992}"#, "/n", Wrong::TooLarge),
            (br#"{"n":99999999999999999999999999}"#, "/n", Wrong::TooLarge),
            (br#"{"n":01}"#, "/n", Wrong::Syntax),
            (br#"{"n":-}"#, "/n", Wrong::Syntax),
            (br#"{"s":"\ud800"}"#, "/s", Wrong::Syntax),
            (b"{\"s\":\"a\nb\"}", "/s", Wrong::Syntax),
            (b"{\"s\":\"\xff\"}", "", Wrong::NotUtf8),
            (b"\xef\xbb\xbf{}", "", Wrong::Syntax),
            (br#"{"a":1,}"#, "", Wrong::Syntax),
            (br"{} {}", "", Wrong::Syntax),
            (br#"{"a":NaN}"#, "/a", Wrong::Syntax),
            (b"", "", Wrong::Syntax),
        ];
        for (text, at, why) in table {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(parse(text), Err(Fault { at: (*at).into(), why: *why }), "{shown}");
        }
    }

    #[test]
    fn ten_thousand_levels_and_a_megabyte_are_refused_at_once() {
        let deep = "[".repeat(10_000);
        assert_eq!(parse(deep.as_bytes()).map_err(|fault| fault.why), Err(Wrong::TooDeep));
        let long = format!("\"{}\"", "x".repeat(1_000_000));
        assert_eq!(parse(long.as_bytes()).map_err(|fault| fault.why), Err(Wrong::TooLong));
    }

    #[test]
    fn a_pointer_never_carries_an_endless_name() {
        let text = format!(r#"{{"a":{{"{}":1.5}}}}"#, "k".repeat(5_000));
        assert_eq!(parse(text.as_bytes()).map_err(|fault| fault.at), Err("/a".to_owned()));
    }

    #[test]
    fn good_json_reads_as_serde_json_reads_it() {
        let text = r#" {"s":"\u00e9\ud83d\ude00\n/\/粤","i":[-1,0,9007199254740991],"e":{},"a":[],"t":true,"f":false,"z":null} "#;
        let expected: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(parse(text.as_bytes()), Ok(expected));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_is_json(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = parse(&bytes) {
                prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).ok(), Some(value));
            }
        }

        #[test]
        fn json_like_text_is_read_or_refused_and_what_is_read_is_json(text in r#"[\[\]{},:"0-9a-e.\\utrfn -]{0,60}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                // `-0` is the one integer that the general reader makes a float of.
                if !text.contains("-0") {
                    prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
                }
            }
        }
    }
}
