//! Which registrations a user has.

use std::collections::HashMap;

use xmpp_parsers::jid::Jid;

/// A registration in the store, as far as its order and its owner are concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key in the user's table.
    pub identifier: String,
    /// The push service.
    pub jid: String,
    /// The node; the empty one and none are the same.
    pub node: String,
    /// When it was enabled, in seconds since 1970.
    pub timestamp: i64,
    /// Tells apart what was enabled within one second.
    pub sequence: i64,
    /// The client that enabled it (XEP-0388), if it has said who it is.
    pub client_id: Option<String>,
    /// The resource of the session that enabled it, for clients that have not.
    pub resource: Option<String>,
    /// It is suspended: no session is attached to it.
    pub suspended: bool,
}

impl Record {
    fn age(&self) -> (i64, i64) {
        (self.timestamp, self.sequence)
    }

    /// Who it was enabled by, as far as that is known.
    fn client(&self) -> Option<Client<'_>> {
        match &self.client_id {
            Some(id) => Some(Client::Id(id)),
            None => self.resource.as_deref().map(Client::Resource),
        }
    }

    fn is_of(&self, client_id: Option<&str>, resource: &str) -> bool {
        self.client().is_some_and(|client| match client {
            Client::Id(id) => client_id == Some(id),
            Client::Resource(own) => own == resource,
        })
    }

    fn is_at(&self, jid: &str) -> bool {
        self.jid == jid || Jid::new(&self.jid).is_ok_and(|own| own.as_str() == jid)
    }
}

/// Who enables registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client<'a> {
    Id(&'a str),
    Resource(&'a str),
}

/// A registration that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The push service.
    pub jid: &'a str,
    /// The node; the empty one and none are the same.
    pub node: Option<&'a str>,
    /// The client that asks (XEP-0388), if it has said who it is.
    pub client_id: Option<&'a str>,
    /// The resource of its session.
    pub resource: &'a str,
}

/// How a new registration takes its place among the others.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    /// The places of those that have to go.
    pub displaced: Vec<usize>,
    /// Its [`Record::timestamp`].
    pub timestamp: i64,
    /// Its [`Record::sequence`].
    pub sequence: i64,
}

/// The key of a registration in the user's table.
pub fn identifier(jid: &str, node: Option<&str>) -> String {
    format!("{jid}<{}", node.unwrap_or_default())
}

/// Whether this is the identifier of a push2 registration: no JID begins so.
pub fn is_push2(identifier: &str) -> bool {
    identifier.starts_with("push2 ")
}

/// The push service that an identifier names: none does of a push2 registration.
pub fn service_of(identifier: &str) -> Option<&str> {
    let mut parts = identifier.split('<');
    parts.next().filter(|_| !is_push2(identifier))
}

/// Admits a registration as the newest: it replaces an earlier one for the same service and
/// node. Those that its client enabled before make room first, then the oldest. `now` is in seconds
/// since 1970.
pub fn admit(records: &[Record], wanted: &Wanted<'_>, max_devices: usize, now: i64) -> Admission {
    let node = wanted.node.unwrap_or_default();
    let mut displaced = matching(records, wanted.jid, Some(node));
    let remaining: Vec<_> = (0..records.len())
        .filter(|index| !displaced.contains(index))
        .collect();
    let room = max_devices.saturating_sub(1);
    displaced.extend(excess(records, remaining, room, |record| {
        record.is_of(wanted.client_id, wanted.resource)
    }));

    let newest = records.iter().map(Record::age).max().unwrap_or((now, -1));
    // A clock that was set back must not make the newest one the oldest.
    let timestamp = newest.0.max(now);
    let sequence = if timestamp == newest.0 {
        newest.1.saturating_add(1)
    } else {
        0
    };
    Admission {
        displaced,
        timestamp,
        sequence,
    }
}

/// The places of the registrations for this service, all of them or only one node's.
pub fn matching(records: &[Record], jid: &str, node: Option<&str>) -> Vec<usize> {
    records
        .iter()
        .enumerate()
        .filter(|(_, record)| record.is_at(jid) && node.is_none_or(|node| record.node == node))
        .map(|(index, _)| index)
        .collect()
}

/// If there are more than `max_devices`, the places of those that go: first those whose client has
/// enabled another one since, then the oldest.
pub fn surplus(records: &[Record], max_devices: usize) -> Vec<usize> {
    if records.len() <= max_devices {
        return Vec::new();
    }
    let mut newest = HashMap::new();
    for record in records {
        if let Some(client) = record.client() {
            let age = newest.entry(client).or_insert(record.age());
            *age = record.age().max(*age);
        }
    }
    let all = (0..records.len()).collect();
    excess(records, all, max_devices, |record| {
        let latest = record.client().and_then(|client| newest.get(&client));
        latest.is_some_and(|latest| record.age() < *latest)
    })
}

/// The registration of the client that binds: the one with its client id, else one without any
/// that was enabled under the same resource. The newest, where there are several. One that is
/// suspended counts only if `even_suspended`.
pub fn owned_by(
    records: &[Record],
    client_id: Option<&str>,
    resource: &str,
    even_suspended: bool,
) -> Option<usize> {
    let newest = |owned: &dyn Fn(&Record) -> bool| {
        (0..records.len())
            .filter(|&index| even_suspended || !records[index].suspended)
            .filter(|&index| owned(&records[index]))
            .max_by_key(|&index| records[index].age())
    };
    client_id
        .and_then(|id| newest(&|record| record.client() == Some(Client::Id(id))))
        .or_else(|| newest(&|record| record.client() == Some(Client::Resource(resource))))
}

/// Those of `among` that are too many: first the ones that `goes_first` picks, then the others, each
/// in the order of age.
fn excess(
    records: &[Record],
    mut among: Vec<usize>,
    keep: usize,
    goes_first: impl Fn(&Record) -> bool,
) -> Vec<usize> {
    among.sort_by_cached_key(|&index| (!goes_first(&records[index]), records[index].age()));
    among.truncate(among.len().saturating_sub(keep));
    among
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(jid: &str, node: &str, timestamp: i64, sequence: i64) -> Record {
        Record {
            identifier: identifier(jid, Some(node)),
            jid: jid.into(),
            node: node.into(),
            timestamp,
            sequence,
            ..Record::default()
        }
    }

    fn wanted<'a>(jid: &'a str, node: Option<&'a str>) -> Wanted<'a> {
        Wanted {
            jid,
            node,
            client_id: None,
            resource: "new",
        }
    }

    #[test]
    fn the_store_knows_a_registration_by_service_and_node() {
        assert_eq!(identifier("push.test", Some("n1")), "push.test<n1");
        assert_eq!(identifier("push.test", None), "push.test<");
        assert_eq!(service_of("push.test<a<b"), Some("push.test"));
        assert_eq!(service_of("push2 phone"), None);
        assert_eq!(service_of("push2 a<b"), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let records: Vec<_> = (0..5)
            .map(|n| record("push.test", &n.to_string(), 100, 4 - n))
            .collect();
        let admission = admit(&records, &wanted("push.test", Some("new")), 5, 100);
        assert_eq!(admission.displaced, [4]);
        assert_eq!((admission.timestamp, admission.sequence), (100, 5));
        assert_eq!(surplus(&records, 3), [4, 3]);
        assert_eq!(surplus(&records, 5), [0; 0]);
    }

    /// A record by a client id ("#1") or a resource, or nobody (""), as old as its place says.
    fn by(clients: &[&str]) -> Vec<Record> {
        let enabled = |(timestamp, &client): (i64, &&str)| Record {
            client_id: client.starts_with('#').then(|| client.into()),
            resource: (!client.is_empty() && !client.starts_with('#')).then(|| client.into()),
            ..record("push.test", &timestamp.to_string(), timestamp, 0)
        };
        (0..).zip(clients).map(enabled).collect()
    }

    #[test]
    fn what_the_same_client_enabled_before_makes_room_first() {
        let displaced = |clients: &[&str], client_id, resource, max| {
            let wanted = Wanted {
                client_id,
                resource,
                ..wanted("push.test", Some("new"))
            };
            admit(&by(clients), &wanted, max, 100).displaced
        };
        let phone = Some("#phone");
        let records = ["tablet", "#phone", "pc", "#phone", "#pc"];
        assert_eq!(displaced(&records, phone, "x", 5), [1]);
        assert_eq!(displaced(&records, phone, "x", 4), [1, 3]);
        assert_eq!(displaced(&records, phone, "x", 3), [1, 3, 0]);
        assert_eq!(displaced(&records, phone, "x", 6), [0; 0]);
        assert_eq!(displaced(&records, None, "pc", 5), [2]);
        assert_eq!(displaced(&records, None, "other", 5), [0]);
        assert_eq!(displaced(&records, Some("#other"), "other", 5), [0]);
        // A client may have said who it is only since then.
        assert_eq!(displaced(&["a", "pc"], Some("#new"), "pc", 2), [1]);
        // A client that has is not the one of the same resource.
        assert_eq!(displaced(&["a", "#pc"], None, "#pc", 2), [0]);
        assert_eq!(displaced(&["a", ""], None, "", 2), [0]);
    }

    #[test]
    fn of_too_many_those_go_first_whose_client_has_newer_ones() {
        let records = by(&["tablet", "#phone", "phone", "#phone", "#phone", "", ""]);
        assert_eq!(surplus(&records, 6), [1]);
        assert_eq!(surplus(&records, 5), [1, 3]);
        assert_eq!(surplus(&records, 4), [1, 3, 0]);
        assert_eq!(surplus(&records, 0), [1, 3, 0, 2, 4, 5, 6]);
    }

    #[test]
    fn the_same_service_and_node_is_replaced() {
        let records = [
            record("push.test", "a", 1, 0),
            record("push.test", "b", 2, 0),
        ];
        assert_eq!(
            admit(&records, &wanted("push.test", Some("b")), 2, 3).displaced,
            [1]
        );
        let records = [
            record("Push.TEST", "a", 1, 0),
            record("push.test", "", 2, 0),
        ];
        assert_eq!(
            admit(&records, &wanted("push.test", Some("a")), 5, 3).displaced,
            [0]
        );
        assert_eq!(
            admit(&records, &wanted("push.test", None), 5, 3).displaced,
            [1]
        );
    }

    #[test]
    fn the_newest_is_the_newest_whatever_the_clock_says() {
        let records = [record("push.test", "a", 1000, 3)];
        let back = admit(&records, &wanted("push.test", Some("b")), 5, 10);
        assert_eq!((back.timestamp, back.sequence), (1000, 4));
        let forth = admit(&records, &wanted("push.test", Some("b")), 5, 2000);
        assert_eq!((forth.timestamp, forth.sequence), (2000, 0));
        let first = admit(&[], &wanted("push.test", Some("b")), 5, 10);
        assert_eq!((first.timestamp, first.sequence), (10, 0));
    }

    #[test]
    fn a_service_or_one_of_its_nodes_is_matched() {
        let records = [
            record("push.test", "a", 1, 0),
            record("push.test", "b", 2, 0),
            record("other.test", "a", 3, 0),
        ];
        assert_eq!(matching(&records, "push.test", None), [0, 1]);
        assert_eq!(matching(&records, "push.test", Some("b")), [1]);
        assert_eq!(matching(&records, "push.test", Some("c")), [0; 0]);
    }

    #[test]
    fn a_client_owns_what_it_enabled() {
        let mut records = [
            record("push.test", "a", 1, 0),
            record("push.test", "b", 2, 0),
            record("push.test", "c", 3, 0),
        ];
        records[0].client_id = Some("client".into());
        records[1].resource = Some("phone".into());
        records[2].client_id = Some("other".into());
        records[2].resource = Some("phone".into());
        assert_eq!(owned_by(&records, Some("client"), "phone", false), Some(0));
        assert_eq!(owned_by(&records, Some("unknown"), "phone", false), Some(1));
        assert_eq!(owned_by(&records, None, "phone", false), Some(1));
        assert_eq!(owned_by(&records, None, "desk", false), None);
        records[2].client_id = None;
        assert_eq!(
            owned_by(&records, None, "phone", false),
            Some(2),
            "the newest"
        );
        records[2].suspended = true;
        assert_eq!(owned_by(&records, None, "phone", false), Some(1));
        assert_eq!(owned_by(&records, None, "phone", true), Some(2));
    }
}
