/// What is longer is no name that somebody mistyped: what a file calls a column may be as long as the file.
const LONGEST: usize = 200;

/// The candidate that is most like `name`, if one is near enough to be what was meant: at most a third of its letters
/// differ. Case does not count.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_name = |text: &str| text.len() <= LONGEST;
    let name: Vec<char> = Some(name).filter(|name| is_name(name))?.to_lowercase().chars().collect();
    let allowed = |other: usize| (name.len().max(other) / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| is_name(candidate))
        .filter_map(|candidate| {
            let other: Vec<char> = candidate.to_lowercase().chars().collect();
            let distance = distance(&name, &other);
            (distance <= allowed(other.len())).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut rows = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let shorter = rows[(i - 1) * width + j].min(rows[i * width + j - 1]) + 1;
                let swapped = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    rows[(i - 2) * width + j - 2] + 1
                } else {
                    usize::MAX
                };
                replaced.min(shorter).min(swapped)
            };
        }
    }
    rows[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["user_id", "user_name", "occurred_at", "Användare"];
        assert_eq!(nearest("usre_id", names), Some("user_id"));
        assert_eq!(nearest("User_Id", names), Some("user_id"));
        assert_eq!(nearest("användre", names), Some("Användare"));
        assert_eq!(nearest("occured_at", names), Some("occurred_at"));
        assert_eq!(nearest("Personnummer", names), None);
        assert_eq!(nearest("", names), None);
        let long = "x".repeat(100_000);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }
}
