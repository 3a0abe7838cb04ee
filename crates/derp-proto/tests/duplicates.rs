//! `__test__/vectors/duplicates.json`, measured at upstream: which of a key's connections gets its packets.
use derp_proto::duplicates::Duplicates;
use serde_json::Value;

/// The connections of one key, however many there are: what a forwarding table keeps of them.
#[derive(Default)]
enum OneKey<'a> {
    #[default]
    Nobody,
    Single(&'a str),
    Several(Duplicates<&'a str>),
}

impl<'a> OneKey<'a> {
    fn add(&mut self, connection: &'a str) {
        match self {
            Self::Nobody => *self = Self::Single(connection),
            Self::Single(first) => *self = Self::Several(Duplicates::new(*first, connection)),
            Self::Several(several) => several.add(connection),
        }
    }

    fn activity(&mut self, connection: &'a str) {
        if let Self::Several(several) = self {
            several.activity(connection);
        }
    }

    /// As a data plane does it, which looks at the active connection first.
    fn activity_if_it_matters(&mut self, connection: &'a str) {
        if let Self::Several(several) = self
            && !(several.is_settled() && several.active() == connection)
        {
            several.activity(connection);
        }
    }

    fn remove(&mut self, connection: &'a str) {
        match self {
            Self::Nobody => panic!("{connection} is not there"),
            Self::Single(_) => *self = Self::Nobody,
            Self::Several(several) => {
                if let Some(survivor) = several.remove(connection) {
                    *self = Self::Single(survivor);
                }
            }
        }
    }

    fn active(&self) -> Option<&'a str> {
        match self {
            Self::Nobody => None,
            Self::Single(connection) => Some(connection),
            Self::Several(several) => Some(several.active()),
        }
    }
}

fn follow(activity: fn(&mut OneKey<'static>, &'static str)) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/vectors/duplicates.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = Box::leak(Box::new(file))["cases"].as_object().unwrap();
    assert!(!cases.is_empty());
    for (name, steps) in cases {
        let mut key = OneKey::default();
        for (index, step) in steps.as_array().unwrap().iter().enumerate() {
            let connection = step["connection"].as_str().unwrap();
            match step["op"].as_str().unwrap() {
                "add" => key.add(connection),
                "activity" => activity(&mut key, connection),
                "remove" => key.remove(connection),
                other => panic!("{other}"),
            }
            assert_eq!(key.active(), step["active"].as_str(), "{name}, after step {index}: {step}");
        }
    }
}

#[test]
fn the_machine_chooses_as_upstream_does() {
    follow(OneKey::activity);
}

#[test]
fn it_does_so_too_when_told_only_what_matters() {
    follow(OneKey::activity_if_it_matters);
}
