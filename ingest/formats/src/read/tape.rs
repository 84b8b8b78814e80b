//! A JSON value as one flat list: no allocation for each object, strings borrowed where they hold no escapes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::error::Fault;
use crate::limits;

#[derive(Debug)]
pub(crate) struct Tape<'a> {
    slots: Vec<Slot<'a>>,
}

#[derive(Debug)]
struct Slot<'a> {
    key: Option<Cow<'a, str>>,
    value: Value<'a>,
    /// The place after this value and all that is inside it.
    end: usize,
}

#[derive(Debug)]
enum Value<'a> {
    Null,
    Bool(bool),
    Text(Cow<'a, str>),
    Array,
    Object,
}

/// A value in the tape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'t> {
    slots: &'t [Slot<'t>],
    at: usize,
}

impl<'a> Tape<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Tape<'a>, Fault> {
        let mut tape = Tape { slots: Vec::with_capacity((text.len() / 16 + 8).min(limits::VALUES)) };
        let mut json = serde_json::Deserializer::from_str(text);
        // serde_json's own words for broken syntax quote nothing of the text.
        let fault = |e: serde_json::Error| Fault::new(format!("not valid JSON: {e}"));
        Seed { tape: &mut tape, key: None }.deserialize(&mut json).map_err(fault)?;
        json.end().map_err(fault)?;
        Ok(tape)
    }

    pub(crate) fn root(&self) -> Node<'_> {
        Node { slots: &self.slots, at: 0 }
    }
}

impl<'t> Node<'t> {
    fn slot(self) -> &'t Slot<'t> {
        &self.slots[self.at]
    }

    /// A member of an object.
    pub(crate) fn get(self, key: &str) -> Option<Node<'t>> {
        match self.slot().value {
            Value::Object => self.children().find(|n| n.slot().key.as_deref() == Some(key)),
            _ => None,
        }
    }

    /// A member of an object that is text, a number or a truth value, as text.
    pub(crate) fn text_of(self, key: &str) -> Option<&'t str> {
        self.get(key).and_then(Node::text)
    }

    /// Text, a number or a truth value, as text; nothing where it is empty.
    pub(crate) fn text(self) -> Option<&'t str> {
        match &self.slot().value {
            Value::Text(text) => Some(text.as_ref()).filter(|t| !t.is_empty()),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// An array's items; anything else counts as an array of one, null as none.
    pub(crate) fn items(self) -> impl Iterator<Item = Node<'t>> {
        let (many, one) = match self.slot().value {
            Value::Array => (Some(self.children()), None),
            Value::Null => (None, None),
            _ => (None, Some(self)),
        };
        many.into_iter().flatten().chain(one)
    }

    /// The items of a member, none where it is missing.
    pub(crate) fn items_of(self, key: &str) -> impl Iterator<Item = Node<'t>> {
        self.get(key).into_iter().flat_map(Node::items)
    }

    /// An object's members.
    pub(crate) fn members(self) -> impl Iterator<Item = (&'t str, Node<'t>)> {
        self.children().filter_map(|n| n.slot().key.as_deref().map(|key| (key, n)))
    }

    pub(crate) fn is_object(self) -> bool {
        matches!(self.slot().value, Value::Object)
    }

    fn children(self) -> Children<'t> {
        Children { slots: self.slots, at: self.at + 1, end: self.slot().end }
    }

    /// The value that a JSON pointer's parts lead to.
    pub(crate) fn pointer(self, parts: &[String]) -> Option<Node<'t>> {
        parts.iter().try_fold(self, |node, part| match node.slot().value {
            Value::Array => node.children().nth(part.parse().ok()?),
            _ => node.get(part),
        })
    }
}

struct Children<'t> {
    slots: &'t [Slot<'t>],
    at: usize,
    end: usize,
}

impl<'t> Iterator for Children<'t> {
    type Item = Node<'t>;

    fn next(&mut self) -> Option<Node<'t>> {
        let at = self.at;
        if at >= self.end {
            return None;
        }
        self.at = self.slots[at].end;
        Some(Node { slots: self.slots, at })
    }
}

struct Seed<'s, 'a> {
    tape: &'s mut Tape<'a>,
    key: Option<Cow<'a, str>>,
}

impl<'a> Seed<'_, 'a> {
    fn leaf<E: Error>(self, value: Value<'a>) -> Result<(), E> {
        let end = self.tape.slots.len() + 1;
        push(self.tape, Slot { key: self.key, value, end })
    }
}

fn push<'a, E: Error>(tape: &mut Tape<'a>, slot: Slot<'a>) -> Result<(), E> {
    limits::at_most(limits::VALUES, tape.slots.len() + 1, "values").map_err(E::custom)?;
    tape.slots.push(slot);
    Ok(())
}

impl<'a> DeserializeSeed<'a> for Seed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Seed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<(), E> {
        self.leaf(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.leaf(Value::Text(Cow::Owned(text.to_string())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.leaf(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.leaf(Value::Text(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.leaf(Value::Text(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // An integer that JSON's readers cannot hold shall not look like an id that it is not, nor 1e308 take 309 digits.
        let plain = value.abs() < 1e15 && (value == 0.0 || value.abs() > 1e-6);
        let text = if plain { value.to_string() } else { format!("{value:e}") };
        self.leaf(Value::Text(Cow::Owned(text)))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.leaf(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let Seed { tape, key } = self;
        let at = tape.slots.len();
        push(tape, Slot { key, value: Value::Array, end: 0 })?;
        while seq.next_element_seed(Seed { tape: &mut *tape, key: None })?.is_some() {}
        tape.slots[at].end = tape.slots.len();
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Seed { tape, key } = self;
        let at = tape.slots.len();
        push(tape, Slot { key, value: Value::Object, end: 0 })?;
        while let Some(key) = map.next_key_seed(Key)? {
            map.next_value_seed(Seed { tape: &mut *tape, key: Some(key) })?;
        }
        tape.slots[at].end = tape.slots.len();
        Ok(())
    }
}

struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_string()))
    }
}
