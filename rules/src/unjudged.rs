//! Why something was not judged, in the few sentences that say it. Runs keep the English one; who reads Swedish is shown it in Swedish.

use crate::rule::Text;

/// A sentence in both languages, with `{}` where words of the case go.
pub struct Sentence {
    en: &'static str,
    sv: &'static str,
}

/// The accesses at a unit: a table says nothing of it.
pub(crate) const UNCOVERED: Sentence = Sentence {
    en: "no rows of {} for the unit in the calendar window",
    sv: "inga rader i {} för enheten i kalenderperioden",
};
/// An access that names no unit: a table says nothing of the user's.
pub(crate) const HOMELESS: Sentence = Sentence {
    en: "the log names no unit, and no assignment of the person has rows of {}",
    sv: "loggen anger ingen enhet, och ingen av personens placeringar har rader i {}",
};
/// A table that the rule needs has no rows.
pub(crate) const EMPTY: Sentence = Sentence {
    en: "the context table {} is empty or not loaded",
    sv: "kontexttabellen {} är tom eller inte inläst",
};
/// None of the tables of which it needs one.
pub(crate) const NONE_OF: Sentence =
    Sentence { en: "none of the context tables {} has rows", sv: "ingen av kontexttabellerna {} har rader" };
/// It was judged, and could have been judged better.
pub(crate) const WITHOUT: Sentence = Sentence {
    en: "judged without {}, which is empty or not loaded",
    sv: "bedömd utan {}, som är tom eller inte inläst",
};
/// A table is older than the rule allows.
pub(crate) const STALE: Sentence = Sentence {
    en: "the context table {} was loaded more than {} days before",
    sv: "kontexttabellen {} lästes in mer än {} dagar före",
};
/// It took too long.
pub(crate) const LATE: Sentence = Sentence {
    en: "stopped after {} seconds, its time limit",
    sv: "stoppad efter {} sekunder, dess tidsgräns",
};
/// It named too much.
pub(crate) const TOO_MANY: Sentence = Sentence {
    en: "stopped at {} rows, its limit; its parameters let too much through",
    sv: "stoppad vid {} rader, dess gräns; dess parametrar släpper igenom för mycket",
};
/// Nothing came for it.
pub(crate) const NOTHING_NEW: Sentence = Sentence {
    en: "nothing that it judges came since it judged last",
    sv: "inget som den bedömer har kommit sedan den bedömde senast",
};
/// There is nothing to judge.
pub(crate) const NOTHING_STORED: Sentence = Sentence {
    en: "no accesses are stored for the period",
    sv: "inga åtkomster finns lagrade för perioden",
};
/// Nobody has decided that rules of its kind run on schedule.
pub const UNDECIDED: Sentence = Sentence {
    en: "it rests on address, kin, name, schedule or volume, and [rules.intrusive] does not say who has decided that it runs on schedule",
    sv: "den bygger på adress, släktskap, namn, schema eller volym, och [rules.intrusive] anger inte vem som har beslutat att den körs löpande",
};
/// It asks for holes in numbering, and nothing is numbered.
pub const UNNUMBERED: Sentence = Sentence {
    en: "no source says that it counts its records (numbered = true)",
    sv: "ingen källa anger att den numrerar sina poster (numbered = true)",
};

const ALL: [&Sentence; 12] = [
    &UNCOVERED,
    &HOMELESS,
    &EMPTY,
    &NONE_OF,
    &WITHOUT,
    &STALE,
    &LATE,
    &TOO_MANY,
    &NOTHING_NEW,
    &NOTHING_STORED,
    &UNDECIDED,
    &UNNUMBERED,
];

impl Sentence {
    /// As it is kept.
    pub fn kept(&self, words: &[&str]) -> String {
        filled(self.en, words)
    }

    /// The words of the case that a sentence was made with, where it is this one.
    fn words<'t>(&self, kept: &'t str) -> Option<Vec<&'t str>> {
        let mut parts = self.en.split("{}");
        let mut rest = kept.strip_prefix(parts.next()?)?;
        let mut words = Vec::new();
        for part in parts {
            let end = if part.is_empty() { rest.len() } else { rest.find(part)? };
            words.push(&rest[..end]);
            rest = &rest[end + part.len()..];
        }
        rest.is_empty().then_some(words)
    }
}

fn filled(sentence: &str, words: &[&str]) -> String {
    words.iter().fold(sentence.to_owned(), |text, word| text.replacen("{}", word, 1))
}

/// What a run kept, in both languages. What is none of these sentences, as the fault of a query, is the same in both.
pub fn in_both(kept: &str) -> Text {
    let known = ALL.iter().find_map(|sentence| Some((sentence, sentence.words(kept)?)));
    let sv = known.map_or_else(|| kept.to_owned(), |(sentence, words)| filled(sentence.sv, &words));
    Text { sv, en: kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_is_known_by_what_is_kept_of_it() {
        for sentence in ALL {
            let words: Vec<&str> =
                ["care_relations, units", "14"][..sentence.en.matches("{}").count()].to_vec();
            let both = in_both(&sentence.kept(&words));
            assert_eq!(both.sv, filled(sentence.sv, &words), "{}", sentence.en);
            assert_eq!(sentence.sv.matches("{}").count(), words.len());
            assert!(!both.sv.contains("{}") && both.sv != both.en);
        }
        for other in
            ["", "no field called colour", "no rows of x", "stopped after 7 seconds, its time limit, twice"]
        {
            assert_eq!(in_both(other), Text { sv: other.into(), en: other.into() });
        }
    }
}
