//! Who looked, from where: an AuditEvent's agents.

use insyn_event::{AccessEvent, PersonalNumberKind, normalise, oid};

use super::{Concept, Node, Reference, concepts, extensions};
use crate::columns::some;
use crate::read::dicom::is_hsa_id;

const PEOPLE: &[&str] = &["Practitioner", "PractitionerRole", "Person", "Patient", "RelatedPerson"];

/// The agent that asked: a person before a program, and never an organisation.
pub(super) fn find(root: Node<'_>) -> Option<Node<'_>> {
    let rank = |agent: &Node<'_>| {
        let who = who(*agent, root);
        let human = who.kind.is_some_and(|k| PEOPLE.contains(&k));
        let program =
            who.kind.is_some_and(|k| k == "Device") || has_code(*agent, &["110150", "110152", "110153"]);
        i32::from(agent.text_of("requestor") == Some("true")) * 4
            + i32::from(has_code(*agent, &["IRCP"])) * 2
            + i32::from(human) * 2
            - i32::from(program) * 3
    };
    let mut best: Option<(i32, Node<'_>)> = None;
    for agent in root.items_of("agent").filter(|a| !is_organisation(*a, root)) {
        let rank = rank(&agent);
        if best.is_none_or(|(other, _)| rank > other) {
            best = Some((rank, agent));
        }
    }
    best.map(|(_, agent)| agent)
}

/// Fills what the agents say about the user.
pub(super) fn user(root: Node<'_>, event: &mut AccessEvent) {
    let found = find(root);
    if let Some(agent) = found {
        identity(agent, root, event);
        let roles = concepts(agent.get("role"));
        event.user_role = roles.first().and_then(Concept::word).and_then(some);
        event.user_kind = kind(agent, root).map(str::to_string);
        extensions(agent, event);
        if let Some(location) = agent.get("location") {
            let location = Reference::of(location, root);
            event.care_unit_id = event.care_unit_id.take().or(some(location.id));
            event.care_unit_name = event.care_unit_name.take().or(location.display.and_then(some));
        }
    }
    organisations(root, event);
    let client = found.and_then(network).or_else(|| client_network(root, event));
    event.client_address = client.and_then(some);
}

fn identity(agent: Node<'_>, root: Node<'_>, event: &mut AccessEvent) {
    let who = who(agent, root);
    let alternative = agent.text_of("altId");
    let number = normalise(who.id, who.system, event.occurred_at);
    if matches!(number.kind, PersonalNumberKind::Personnummer | PersonalNumberKind::Samordningsnummer)
        || who.system.is_some_and(|s| s.ends_with(oid::PERSONNUMMER))
    {
        event.user_person_id = some(&number.id);
    }
    event.user_id = match (some(who.id), alternative.and_then(some)) {
        (Some(id), Some(other))
            if !is_hsa_id(&id) && (is_hsa_id(&other) || event.user_person_id.is_some()) =>
        {
            Some(other)
        }
        (id, other) => id.or(other),
    };
    event.user_name = agent.text_of("name").or(who.display).and_then(some);
}

/// What the agent refers to tells who it is; none where it does not.
fn kind(agent: Node<'_>, root: Node<'_>) -> Option<&'static str> {
    let by_code = [
        ("PAT", "subject"),
        ("PATRTE", "subject"),
        ("GUARD", "representative"),
        ("DPOWATT", "representative"),
    ];
    if let Some((_, kind)) = by_code.iter().find(|(code, _)| has_code(agent, &[code])) {
        return Some(kind);
    }
    match who(agent, root).kind? {
        "Practitioner" | "PractitionerRole" => Some("staff"),
        "Patient" => Some("subject"),
        "RelatedPerson" => Some("representative"),
        "Device" => Some("system"),
        _ => None,
    }
}

/// Organisations among the agents: the unit, and the provider that it belongs to.
fn organisations(root: Node<'_>, event: &mut AccessEvent) {
    for agent in root.items_of("agent").filter(|a| is_organisation(*a, root)) {
        let who = who(agent, root);
        let name = || agent.text_of("name").or(who.display).and_then(some);
        let provider = is_provider(agent, &who) || event.care_unit_id.is_some();
        let (id, named) = if provider {
            (&mut event.care_provider_id, &mut event.care_provider_name)
        } else {
            (&mut event.care_unit_id, &mut event.care_unit_name)
        };
        if id.is_none() {
            *id = some(who.id);
            *named = named.take().or_else(name);
        }
    }
}

fn is_organisation(agent: Node<'_>, root: Node<'_>) -> bool {
    who(agent, root).kind == Some("Organization")
}

/// An organisation number without a unit's suffix, or a type or role that says so.
fn is_provider(agent: Node<'_>, who: &Reference<'_>) -> bool {
    let says = |key: &str| {
        concepts(agent.get(key)).iter().any(|c| {
            [c.code, c.display, c.text].into_iter().flatten().any(|word| {
                let word = word.to_lowercase();
                word == "prov" || ["provider", "vårdgivare", "omsorgsgivare"].iter().any(|w| word.contains(w))
            })
        })
    };
    let bare =
        who.id.len() == 12 && who.id.starts_with("SE") && who.id[2..].bytes().all(|b| b.is_ascii_digit());
    bare || says("type") || says("role")
}

fn who<'t>(agent: Node<'t>, root: Node<'t>) -> Reference<'t> {
    agent.get("who").map(|w| Reference::of(w, root)).unwrap_or_default()
}

fn has_code(agent: Node<'_>, codes: &[&str]) -> bool {
    let any = |key: &str| concepts(agent.get(key)).iter().any(|c| c.code.is_some_and(|c| codes.contains(&c)));
    any("type") || any("role")
}

/// R4 `network.address`, R5 `network[x]`.
fn network(agent: Node<'_>) -> Option<&str> {
    let address = agent.get("network").and_then(|n| n.text_of("address").or(n.text()));
    let address = address.or_else(|| agent.text_of("networkString")).or_else(|| agent.text_of("networkUri"));
    address.or_else(|| {
        agent.get("networkReference").and_then(|n| n.text_of("display").or(n.text_of("reference")))
    })
}

/// The client's network. DICOM's codes say destination and source, and which of them the client is depends on what was
/// done: it receives what is read, and sends queries and changes. Not all keep to that, but an address that is a URL is
/// the server's.
fn client_network<'t>(root: Node<'t>, event: &AccessEvent) -> Option<&'t str> {
    let client = if event.action.as_deref() == Some("R") { "110152" } else { "110153" };
    let is_host = |address: &&str| !address.contains("://");
    let of_client = root.items_of("agent").filter(|a| has_code(*a, &[client])).find_map(network);
    let any = || root.items_of("agent").filter_map(network).find(is_host);
    of_client.filter(is_host).or_else(any).or(of_client)
}
