//! Requests as clients write them: read field by field, so that what does not fit is named, and what nobody reads is refused
//! instead of being passed over.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    edit::{Edit, Mask, PersistenceSpec, ServerName, ServerSpec, ServiceSpec},
    protocol::Request,
};
use crate::{config::Family, inspect::ServiceName};

/// All requests and all edits.
const REQUESTS: [&str; 5] = ["status", "list", "edit", "reload", "stop"];
const EDITS: [&str; 9] = [
    "add-service",
    "edit-service",
    "delete-service",
    "add-server",
    "edit-server",
    "delete-server",
    "clear",
    "zero",
    "set-timeouts",
];

/// A line as a client has written it.
pub(super) fn request(line: &[u8]) -> Result<Request, String> {
    let Single(value) = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// JSON in which no object has a field twice: which of them is meant nobody can tell.
struct Single(Value);

impl<'d> Deserialize<'d> for Single {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'d> Visitor<'d> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, is: bool) -> Result<Value, E> {
                Ok(is.into())
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(number.into())
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(number.into())
            }

            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(number.into())
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'d>>(self, mut all: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(Single(value)) = all.next_element()? {
                    values.push(value);
                }
                Ok(values.into())
            }

            fn visit_map<A: MapAccess<'d>>(self, mut all: A) -> Result<Value, A::Error> {
                let mut map = Map::new();
                while let Some((name, Single(value))) = all.next_entry::<String, _>()? {
                    if map.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("`{name}` is there twice")));
                    }
                }
                Ok(map.into())
            }
        }
        deserializer.deserialize_any(Reader).map(Self)
    }
}

/// A request and an edit are made of the fields of an object; the error is for people.
impl TryFrom<Map<String, Value>> for Request {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<Self, String> {
        let (kind, mut fields) = Fields::of_kind(map, "request", &REQUESTS)?;
        let request = match kind.as_str() {
            "status" => Self::Status,
            "list" => Self::List,
            "reload" => Self::Reload { discard_edits: fields.or("discard_edits", false)? },
            "stop" => Self::Stop,
            _ => {
                let edits: Vec<Map<String, Value>> = fields.needed("edits")?;
                let edits = (1..).zip(edits).map(|(number, map)| {
                    Edit::try_from(map).map_err(|error| format!("edit {number}: {error}"))
                });
                Self::Edit { edits: edits.collect::<Result<_, _>>()? }
            }
        };
        fields.end()?;
        Ok(request)
    }
}

impl TryFrom<Map<String, Value>> for Edit {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<Self, String> {
        let (kind, mut fields) = Fields::of_kind(map, "edit", &EDITS)?;
        let fields = &mut fields;
        let edit = match kind.as_str() {
            "add-service" => Self::AddService { service: service(fields)?, spec: spec(fields)? },
            "edit-service" => Self::EditService { service: service(fields)?, spec: spec(fields)? },
            "delete-service" => Self::DeleteService { service: service(fields)? },
            "add-server" => Self::AddServer {
                service: service(fields)?,
                server: server(fields)?,
                spec: server_spec(fields)?,
            },
            "edit-server" => Self::EditServer {
                service: service(fields)?,
                server: server(fields)?,
                spec: server_spec(fields)?,
            },
            "delete-server" => {
                Self::DeleteServer { service: service(fields)?, server: server(fields)? }
            }
            "clear" => Self::Clear,
            "zero" if fields.has("service") => Self::Zero { service: Some(service(fields)?) },
            "zero" => Self::Zero { service: None },
            _ => Self::SetTimeouts {
                tcp: fields.or("tcp", 0)?,
                tcp_fin: fields.or("tcp_fin", 0)?,
                udp: fields.or("udp", 0)?,
            },
        };
        fields.end()?;
        Ok(edit)
    }
}

fn service(fields: &mut Fields) -> Result<ServiceName, String> {
    let mut fields = fields.inner("service")?;
    let service = if fields.has("mark") {
        let family: String = fields.needed("family")?;
        let family = match family.as_str() {
            "IPv4" => Family::Ipv4,
            "IPv6" => Family::Ipv6,
            _ => return Err(fields.wrong("family", &"IPv4 or IPv6")),
        };
        ServiceName::Mark { mark: fields.needed("mark")?, family }
    } else {
        let protocol: String = fields.needed("protocol")?;
        let protocol = match protocol.as_str() {
            "TCP" => crate::config::Protocol::Tcp,
            "UDP" => crate::config::Protocol::Udp,
            _ => return Err(fields.wrong("protocol", &"TCP or UDP")),
        };
        let address = fields.needed("address")?;
        ServiceName::Address { protocol, address, port: fields.needed("port")? }
    };
    fields.end()?;
    Ok(service)
}

fn spec(fields: &mut Fields) -> Result<ServiceSpec, String> {
    Ok(ServiceSpec {
        scheduler: fields.needed("scheduler")?,
        fallback: fields.or("fallback", false)?,
        source_port: fields.or("source_port", false)?,
        flag_3: fields.or("flag_3", false)?,
        one_packet: fields.or("one_packet", false)?,
        persistence: fields.has("persistence").then(|| persistence(fields)).transpose()?,
    })
}

fn persistence(fields: &mut Fields) -> Result<PersistenceSpec, String> {
    let mut fields = fields.inner("persistence")?;
    let timeout = fields.needed("timeout")?;
    let granularity = fields.or("granularity", Value::Null)?;
    let mask =
        || fields.wrong("granularity", &"a mask (\"255.255.255.0\") or a prefix length (64)");
    let granularity = match granularity {
        Value::Null => None,
        Value::String(text) => Some(Mask::Mask(text.parse().map_err(|_| mask())?)),
        value => Some(Mask::Prefix(serde_json::from_value(value).map_err(|_| mask())?)),
    };
    fields.end()?;
    Ok(PersistenceSpec { timeout, granularity })
}

fn server(fields: &mut Fields) -> Result<ServerName, String> {
    Ok(ServerName { address: fields.needed("address")?, port: fields.needed("port")? })
}

fn server_spec(fields: &mut Fields) -> Result<ServerSpec, String> {
    Ok(ServerSpec {
        weight: fields.or("weight", ServerSpec::default_weight())?,
        upper_threshold: fields.or("upper_threshold", 0)?,
        lower_threshold: fields.or("lower_threshold", 0)?,
    })
}

/// An object while it is read.
struct Fields {
    /// What it is, for messages.
    what: String,
    map: Map<String, Value>,
    /// The fields that were asked for.
    known: Vec<&'static str>,
}

impl Fields {
    /// One that says what it is.
    fn of_kind(
        mut map: Map<String, Value>,
        field: &'static str,
        kinds: &[&str],
    ) -> Result<(String, Self), String> {
        let known = || format!("there are {}", kinds.join(", "));
        let kind = match map.remove(field) {
            Some(Value::String(kind)) if kinds.contains(&kind.as_str()) => kind,
            Some(Value::String(kind)) => {
                return Err(format!("there is no {field} `{kind}`; {}", known()));
            }
            Some(other) => return Err(format!("`{field}` is no name but {other}; {}", known())),
            None => {
                return Err(format!("`{field}` is missing, which says what it is; {}", known()));
            }
        };
        Ok((kind.clone(), Self { what: kind, map, known: vec![field] }))
    }

    /// An object in it.
    fn inner(&mut self, name: &'static str) -> Result<Self, String> {
        let map = self.needed(name)?;
        Ok(Self { what: format!("{} of {}", name, self.what), map, known: Vec::new() })
    }

    fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// A field that must be there.
    fn needed<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, String> {
        let value = self.take(name).ok_or_else(|| format!("{}: `{name}` is missing", self.what))?;
        serde_json::from_value(value).map_err(|error| self.wrong(name, &error))
    }

    /// One that need not be there.
    fn or<T: DeserializeOwned>(&mut self, name: &'static str, default: T) -> Result<T, String> {
        match self.take(name) {
            Some(value) => serde_json::from_value(value).map_err(|error| self.wrong(name, &error)),
            None => Ok(default),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, why: &dyn fmt::Display) -> String {
        format!("{}: `{name}` is wrong: {why}", self.what)
    }

    /// Nothing else is to be there.
    fn end(&self) -> Result<(), String> {
        let strange = self.map.iter().find(|(_, value)| !value.is_null());
        strange.map_or(Ok(()), |(name, _)| {
            Err(format!("{}: there is no `{name}`; there are {}", self.what, self.known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a request is refused.
    fn refused(text: &str) -> String {
        serde_json::from_str::<Request>(text).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, expected) in [
            (
                r#"{"request":"dance"}"#,
                "there is no request `dance`; there are status, list, edit, reload, stop",
            ),
            (
                r#"{"reqest":"stop"}"#,
                "`request` is missing, which says what it is; there are status, list",
            ),
            (r#"{"request":7}"#, "`request` is no name but 7"),
            (r#"{"request":"stop","now":true}"#, "stop: there is no `now`; there are request"),
            (r#"{"request":"edit"}"#, "edit: `edits` is missing"),
            (
                r#"{"request":"edit","edits":[{"edit":"clear"},{"edit":"clean"}]}"#,
                "edit 2: there is no edit `clean`; there are add-service,",
            ),
            (r#"{"request":"edit","edits":7}"#, "edit: `edits` is wrong: invalid type"),
        ] {
            assert!(refused(text).starts_with(expected), "{text}: {}", refused(text));
        }
        let service = r#""service":{"protocol":"TCP","address":"10.0.0.1","port":80}"#;
        for (edit, expected) in [
            (r#""add-server","service":{"protocol":"TCP","address":"10.0.0.1"},"address":"10.0.0.2","port":80"#.to_owned(), "service of add-server: `port` is missing"),
            (r#""add-server","service":{"protocol":"SCTP","address":"10.0.0.1","port":1},"address":"10.0.0.2","port":80"#.to_owned(), "service of add-server: `protocol` is wrong: TCP or UDP"),
            (r#""zero","service":{"mark":7,"family":"4"}"#.to_owned(), "service of zero: `family` is wrong: IPv4 or IPv6"),
            (r#""zero","service":{"mark":7,"family":"IPv4","port":1}"#.to_owned(), "service of zero: there is no `port`"),
            (format!(r#""add-server",{service},"address":"10.0.0.2","port":"80""#), "add-server: `port` is wrong: invalid type: string \"80\""),
            (format!(r#""add-server",{service},"address":"10.0.0.2","port":80,"wieght":3"#), "add-server: there is no `wieght`; there are edit, service, address, port, weight,"),
            (format!(r#""add-service",{service}"#), "add-service: `scheduler` is missing"),
            (format!(r#""add-service",{service},"scheduler":"rr","persistence":{{"timeout":9,"granularity":"/24"}}"#), "persistence of add-service: `granularity` is wrong: a mask"),
        ] {
            let text = format!(r#"{{"request":"edit","edits":[{{"edit":{edit}}}]}}"#);
            let expected = format!("edit 1: {expected}");
            assert!(refused(&text).starts_with(&expected), "{text}: {}", refused(&text));
        }
    }

    #[test]
    fn what_is_there_twice_is_refused_wherever_it_is() {
        for text in [
            r#"{"request":"status","request":"stop"}"#,
            r#"{"request":"edit","edits":[{"edit":"clear","edit":"zero"}]}"#,
            r#"{"request":"edit","edits":[{"edit":"zero","service":{"mark":1,"family":"IPv4","mark":2}}]}"#,
        ] {
            let error = request(text.as_bytes()).unwrap_err();
            assert!(error.contains("is there twice"), "{text}: {error}");
        }
        assert_eq!(request(br#"{"request":"status"}"#), Ok(Request::Status));
        let all =
            r#"{"request":"edit","edits":[{"edit":"set-timeouts","tcp":900},{"edit":"clear"}]}"#;
        assert!(request(all.as_bytes()).is_ok());
        for garbage in ["", "[]", "1.5", "nonsense", "{\"request\":1e999}"] {
            assert!(request(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }
}
