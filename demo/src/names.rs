//! Names and streets. All common, so that none points at anyone; the streets lie in no town that we know of.

/// Given names of women and girls.
pub(crate) const WOMEN: &[&str] = &[
    "Anna", "Maria", "Eva", "Karin", "Sara", "Lena", "Kerstin", "Emma", "Ingrid", "Birgitta", "Malin",
    "Jenny", "Linda", "Ulla", "Elin", "Åsa", "Sofia", "Annika", "Hanna", "Johanna", "Märta", "Amira",
    "Fatima", "Elsa", "Alice", "Wilma", "Ebba", "Astrid", "Saga", "Maja", "Gunilla", "Marianne", "Barbro",
    "Siv", "Solveig", "Aino", "Leila", "Zahra", "Petra", "Ylva", "Tove", "Lovisa", "Agnes", "Vera", "Stina",
    "Renée", "Zoë", "Irene", "Monica", "Camilla",
];

/// Given names of men and boys.
pub(crate) const MEN: &[&str] = &[
    "Lars", "Karl", "Anders", "Johan", "Per", "Nils", "Erik", "Mikael", "Jan", "Hans", "Peter", "Fredrik",
    "Stefan", "Daniel", "Gunnar", "Åke", "Göran", "Björn", "Mattias", "Magnus", "Oskar", "Elias", "Hugo",
    "Liam", "William", "Axel", "Olle", "Östen", "Håkan", "Sven", "Bertil", "Rune", "Ali", "Ahmed", "Hassan",
    "Omar", "André", "Joel", "Simon", "Viktor", "Gustav", "Edvin", "Arvid", "Love", "Ture", "Bo", "Kjell",
    "Tomas", "Robert", "Martin",
];

/// Surnames, commonest first: the draw favours the head of the list, as the register does.
pub(crate) const SURNAMES: &[&str] = &[
    "Andersson",
    "Johansson",
    "Karlsson",
    "Nilsson",
    "Eriksson",
    "Larsson",
    "Olsson",
    "Persson",
    "Svensson",
    "Gustafsson",
    "Pettersson",
    "Jonsson",
    "Jansson",
    "Hansson",
    "Bengtsson",
    "Lindberg",
    "Jakobsson",
    "Magnusson",
    "Lindström",
    "Olofsson",
    "Lindqvist",
    "Lindgren",
    "Axelsson",
    "Berg",
    "Bergström",
    "Lundberg",
    "Lind",
    "Lundgren",
    "Mattsson",
    "Berglund",
    "Fredriksson",
    "Sandberg",
    "Henriksson",
    "Ali",
    "Forsberg",
    "Sjöberg",
    "Wallin",
    "Engström",
    "Eklund",
    "Danielsson",
    "Håkansson",
    "Lundin",
    "Gunnarsson",
    "Björk",
    "Holm",
    "Samuelsson",
    "Fransson",
    "Wikström",
    "Isaksson",
    "Bergqvist",
    "Arvidsson",
    "Nyström",
    "Holmberg",
    "Löfgren",
    "Söderberg",
    "Nyberg",
    "Ahmed",
    "Blomqvist",
    "Claesson",
    "Nordström",
    "Hassan",
    "Mårtensson",
    "Lundström",
    "Viklund",
    "Björklund",
    "Eliasson",
    "Pålsson",
    "Berggren",
    "Sandström",
    "Nordin",
    "Ström",
    "Åberg",
    "Falk",
    "Ekström",
    "Hermansson",
    "Holmgren",
    "Hellström",
    "Sundberg",
    "Hedlund",
    "Sjögren",
    "Öberg",
    "Dahl",
    "Strömberg",
    "Åkesson",
    "Månsson",
    "Rask",
    "Tornéus",
    "Hjortsberg",
    "Granlöv",
    "Ådahl",
    "Källmarker",
    "Rönnfelt",
    "Törnskär",
    "Wredenmark",
    "Snäckudd",
    "Malmgården",
    "Oxelby",
    "Ljungåsen",
    "Bärnvik",
    "Skogshed",
    "Älvroth",
    "Fjällsäter",
    "Kvarnholt",
];

/// Streets of Granvik; the first half lies north of the river.
pub(crate) const STREETS: &[&str] = &[
    "Björkstigen",
    "Kvarnbacken",
    "Norra Åvägen",
    "Gruvgränd",
    "Hedvägen",
    "Almstigen",
    "Timmergatan",
    "Skolbacken",
    "Ljungvägen",
    "Vretgatan",
    "Myrstigen",
    "Höjdgatan",
    "Strömgatan",
    "Hamnplan",
    "Södra Åvägen",
    "Bryggarbacken",
    "Tegelvägen",
    "Fiskargränd",
    "Slussgatan",
    "Ängsstigen",
    "Lundvägen",
    "Vassgatan",
    "Solgläntevägen",
    "Färjevägen",
];

/// A name as part of a login: lower case, without diacritics, letters only.
pub(crate) fn folded(name: &str) -> String {
    name.chars()
        .filter_map(|letter| match letter {
            'å' | 'ä' | 'Å' | 'Ä' => Some('a'),
            'ö' | 'Ö' => Some('o'),
            'é' | 'É' | 'ë' => Some('e'),
            other if other.is_ascii_alphabetic() => Some(other.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_name_is_plain_letters() {
        assert_eq!(folded("Åsa"), "asa");
        assert_eq!(folded("Tornéus"), "torneus");
        for name in WOMEN.iter().chain(MEN).chain(SURNAMES) {
            assert_eq!(folded(name).len(), name.chars().count(), "{name}");
        }
    }
}
