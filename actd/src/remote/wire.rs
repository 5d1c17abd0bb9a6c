//! The JSON of the aCT server, read tolerantly: unknown fields are skipped, integers may come as strings, null and a
//! missing key are the same, and one element that cannot be read does not spoil its list.
//! Private to `remote`: nothing outside sees these types, and nothing here decides what an answer means.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::act::Entry;

/// Any JSON value read as an integer: 12, "12", 12.0; everything else is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Int(pub(super) Option<i64>);

/// Any JSON value read as text: strings, numbers and booleans as written; null, lists and objects are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Option<String>);

/// Visits any JSON value as a scalar, consuming lists and objects without looking.
struct Scalar;

enum ScalarValue {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl<'de> Visitor<'de> for Scalar {
    type Value = ScalarValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E>(self) -> Result<ScalarValue, E> {
        Ok(ScalarValue::Nothing)
    }
    fn visit_bool<E>(self, v: bool) -> Result<ScalarValue, E> {
        Ok(ScalarValue::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<ScalarValue, E> {
        Ok(ScalarValue::Int(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<ScalarValue, E> {
        Ok(i64::try_from(v).map_or(ScalarValue::Float(v as f64), ScalarValue::Int))
    }
    fn visit_f64<E>(self, v: f64) -> Result<ScalarValue, E> {
        Ok(ScalarValue::Float(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<ScalarValue, E> {
        Ok(ScalarValue::Text(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<ScalarValue, E> {
        Ok(ScalarValue::Text(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ScalarValue, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ScalarValue::Nothing)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ScalarValue, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(ScalarValue::Nothing)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(Scalar)? {
            ScalarValue::Int(v) => Some(v),
            // 2^53: up to here a float is an exact integer.
            ScalarValue::Float(v) if v.fract() == 0.0 && v.abs() <= 9_007_199_254_740_992.0 => Some(v as i64),
            ScalarValue::Text(v) => v.trim().parse().ok(),
            _ => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(Scalar)? {
            ScalarValue::Text(v) => Some(v),
            ScalarValue::Int(v) => Some(v.to_string()),
            ScalarValue::Float(v) => Some(v.to_string()),
            ScalarValue::Bool(v) => Some(v.to_string()),
            ScalarValue::Nothing => None,
        }))
    }
}

impl Int {
    /// As a job id: positive.
    pub(super) fn id(self) -> Option<u64> {
        u64::try_from(self.0?).ok().filter(|id| *id > 0)
    }
}

/// `GET /info`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    pub(super) arc: Vec<Text>,
    pub(super) client: Vec<Text>,
    pub(super) clusters: Vec<Text>,
}

/// `{"msg": ...}` of an error answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    pub(super) msg: Text,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateElement<'a> {
    pub(super) clusterlist: &'a [String],
}

/// Element of the answers to POST and PUT `/jobs`; a failed PUT element also echoes the description, which is skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JobAnswer {
    pub(super) id: Int,
    pub(super) name: Text,
    pub(super) msg: Text,
}

#[derive(Debug, Serialize)]
pub(super) struct ConfirmElement<'a> {
    pub(super) id: u64,
    pub(super) desc: &'a str,
}

/// Element of the answer to `PATCH /jobs?action=cancel`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CancelAnswer {
    pub(super) c_id: Int,
    pub(super) a_id: Int,
    pub(super) a_arcstate: Text,
}

#[derive(Debug, Serialize)]
pub(super) struct ProxyUpload<'a> {
    pub(super) cert: &'a str,
    pub(super) chain: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ProxyAnswer {
    pub(super) csr: Text,
    pub(super) token: Text,
}

/// The polled columns of one job; `c_` columns are of the client's table, `a_` columns of the ARC job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) c_id: Int,
    pub(super) c_jobname: Text,
    pub(super) a_arcstate: Text,
    #[serde(rename = "a_State")]
    pub(super) a_state: Text,
    #[serde(rename = "a_JobID")]
    pub(super) a_job_id: Text,
}

/// One element of a list: an object that could be read, or something else that was skipped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Element<T> {
    Read(T),
    Skipped,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ElementVisitor<T> {
            type Value = Element<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Element<T>, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Element::Read)
            }
            fn visit_unit<E>(self) -> Result<Element<T>, E> {
                Ok(Element::Skipped)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Element<T>, E> {
                Ok(Element::Skipped)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Element<T>, E> {
                Ok(Element::Skipped)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Element<T>, E> {
                Ok(Element::Skipped)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Element<T>, E> {
                Ok(Element::Skipped)
            }
            fn visit_str<E>(self, _: &str) -> Result<Element<T>, E> {
                Ok(Element::Skipped)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element<T>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Element::Skipped)
            }
        }
        deserializer.deserialize_any(ElementVisitor(std::marker::PhantomData))
    }
}

/// A JSON list read element by element into `each`, without keeping the list itself.
pub(super) fn for_each<'de, T: Deserialize<'de>>(
    body: &'de [u8],
    each: impl FnMut(Element<T>),
) -> Result<(), serde_json::Error> {
    struct Each<F, T>(F, std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: FnMut(Element<T>)> DeserializeSeed<'de> for Each<F, T> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    impl<'de, T: Deserialize<'de>, F: FnMut(Element<T>)> Visitor<'de> for Each<F, T> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(element) = seq.next_element::<Element<T>>()? {
                (self.0)(element);
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Each(each, std::marker::PhantomData).deserialize(&mut deserializer)?;
    deserializer.end()
}

/// A file name in a listing. Read as bytes, because a name that is not UTF-8 on the server arrives as a lone surrogate,
/// which is not a valid JSON string; such a name is kept readable but cannot be fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) Option<String>);

impl Name {
    fn of(bytes: &[u8]) -> Self {
        Self(Some(String::from_utf8_lossy(bytes).into_owned()))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file name")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Name, E> {
                Ok(Name::of(bytes))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Name, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Name(None))
            }
        }
        deserializer.deserialize_bytes(NameVisitor)
    }
}

/// Names in a listing: a list, or one name alone. Observed on a real A-REX 6: a list of one is written without brackets.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Name>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("file names")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Names, E> {
                Ok(Names(vec![Name::of(bytes)]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_bytes(NamesVisitor)
    }
}

/// A directory: of a job's results (`GET /jobs/ID/results/DIR/`), or of a session on a CE. Newer servers use plural keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Directory {
    #[serde(alias = "dirs")]
    dir: Option<Names>,
    #[serde(alias = "files")]
    file: Option<Names>,
}

impl Directory {
    /// Directories, then files; `None` if a name was not text: it would be a file that is silently not downloaded.
    pub(super) fn entries(self) -> Option<Vec<Entry>> {
        let entry = |is_dir| move |name: Name| name.0.map(|name| Entry { name, is_dir });
        let dirs = self.dir.unwrap_or_default().0.into_iter().map(entry(true));
        dirs.chain(self.file.unwrap_or_default().0.into_iter().map(entry(false))).collect()
    }
}

/// The text of an error body: `msg` of a JSON object, the title of an HTML page, or the start of anything else.
/// The second value tells whether it was JSON.
pub(super) fn error_text(body: &[u8]) -> (String, bool) {
    if let Ok(message) = serde_json::from_slice::<Message>(body) {
        return (message.msg.0.unwrap_or_default(), true);
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        let end = lower[start..].find("</title>")? + start;
        text.get(start..end).map(str::to_owned)
    });
    (title.unwrap_or_else(|| text.into_owned()), false)
}

/// See [`super::fuzz_answers`].
#[cfg(fuzzing)]
pub(super) fn fuzz(data: &[u8]) {
    drop(for_each(data, |_: Element<Row>| ()));
    drop(for_each(data, |_: Element<JobAnswer>| ()));
    drop(for_each(data, |_: Element<CancelAnswer>| ()));
    drop(serde_json::from_slice::<Vec<Int>>(data));
    drop(serde_json::from_slice::<Info>(data));
    drop(serde_json::from_slice::<ProxyAnswer>(data));
    drop(serde_json::from_slice::<Directory>(data).map(Directory::entries));
    drop(error_text(data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(body: &str) -> Result<(Vec<Row>, usize), serde_json::Error> {
        let (mut rows, mut skipped) = (Vec::new(), 0);
        for_each(body.as_bytes(), |element: Element<Row>| match element {
            Element::Read(row) => rows.push(row),
            Element::Skipped => skipped += 1,
        })?;
        Ok((rows, skipped))
    }

    #[test]
    fn rows_are_read_tolerantly() {
        let body = r#"[
            {"a_JobID":"https://ce:8443/arex/rest/1.0/jobs/x","a_State":"Finished","a_arcstate":"done","c_id":1,"c_jobname":"hello"},
            {"a_JobID":null,"a_arcstate":null,"c_id":"11","c_jobname":null,"x_new":{"deep":[1,2]}},
            {"c_id":3.0,"c_jobname":["odd"],"a_State":7},
            5, null, "x", [[1]], {"c_id":"no"}
        ]"#;
        let (rows, skipped) = rows(body).expect("read");
        assert_eq!(skipped, 4);
        let ids: Vec<_> = rows.iter().map(|r| r.c_id.id()).collect();
        assert_eq!(ids, [Some(1), Some(11), Some(3), None]);
        assert_eq!(rows[0].a_state.0.as_deref(), Some("Finished"));
        assert_eq!(rows[2].a_state.0.as_deref(), Some("7"));
        assert_eq!(rows[2].c_jobname.0, None);
        assert_eq!(serde_json::from_str::<Int>("\"-1\"").expect("read").0, Some(-1));
    }

    #[test]
    fn a_listing_must_be_whole() {
        for bad in ["", "[", "[{\"c_id\":1}", "{}", "[] []", "null", "[{\"c_id\":1},]", "<html>"] {
            assert!(rows(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_outside_utf8_do_not_hide_the_others() {
        let body = r#"{"dir":["sub"],"file":["sm\u00f8r","bad\udcff","x"],"new":1}"#;
        let dir: Directory = serde_json::from_str(body).expect("read");
        let entries = dir.entries().expect("names");
        let names: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.is_dir)).collect();
        assert_eq!((names[0], names[1]), (("sub", true), ("smør", false)));
        assert!(names[2].0.starts_with("bad\u{fffd}"));
        assert_eq!(names[3], ("x", false));
    }

    #[test]
    fn listings_of_a_ce() {
        let count = |body: &str| serde_json::from_str::<Directory>(body).map(|d| d.entries().map(|e| e.len()));
        assert_eq!(count(r#"{"file":["err.txt","out.txt"],"dir":"d"}"#).expect("read"), Some(3));
        assert_eq!(count(r#"{"file":"y"}"#).expect("read"), Some(1));
        assert_eq!(count(r#"{"files":[],"dirs":null}"#).expect("read"), Some(0));
        assert_eq!(count("{}").expect("read"), Some(0));
        assert_eq!(count(r#"{"file":[["nested"]]}"#).expect("read"), None);
        assert!(count(r#"{"file":{"a":1}}"#).is_err());
        assert!(count(r#"{"file":"a"#).is_err());
    }

    #[test]
    fn error_bodies() {
        assert_eq!(error_text(br#"{"msg":"Server error"}"#), ("Server error".into(), true));
        let html = b"<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n<h1>Internal";
        assert_eq!(error_text(html), ("500 Internal Server Error".into(), false));
        assert_eq!(error_text(b"plain"), ("plain".into(), false));
        assert_eq!(error_text(b""), (String::new(), false));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = for_each(&bytes, |_: Element<Row>| ());
            let _ = for_each(&bytes, |_: Element<CancelAnswer>| ());
            let _ = serde_json::from_slice::<Directory>(&bytes);
            let _ = error_text(&bytes);
        }
    }
}
