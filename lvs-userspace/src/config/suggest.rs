//! "Did you mean …?": the nearest word that would have been right.

/// The candidate nearest to a mistyped word, if one is near enough to be meant: a third of the word's letters may
/// differ. Case does not count as a difference, so `nat` finds `NAT`.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        // The lengths alone rule most candidates out, which matters for very long words.
        .filter(|candidate| candidate.len().abs_diff(length) <= allowed)
        .map(|candidate| {
            (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["weight", "protocol", "real_server", "rr", "NAT"];
        for (typed, meant) in [
            ("wieght", Some("weight")),
            ("protocl", Some("protocol")),
            ("realserver", Some("real_server")),
            ("Real_Server", Some("real_server")),
            ("nat", Some("NAT")),
            ("r", Some("rr")),
            ("listen", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }
}
