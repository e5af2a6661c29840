//! Which xlvs is meant: `--pin-dir` and `--runtime-dir` are the only words of a command line that are not ipvsadm's. They may
//! stand anywhere, for it knows no long options by their first letters.

use std::path::PathBuf;

use crate::control::Place;

/// Takes them out of the words, and gives the others. The error is for people.
pub(super) fn of(words: &[String]) -> Result<(Place, Vec<String>), String> {
    let mut place =
        Place { pin_dir: Place::PIN_DIR.into(), runtime_dir: Place::RUNTIME_DIR.into() };
    let mut others = Vec::new();
    let mut words = words.iter();
    let mut named = false;
    while let Some(word) = words.next() {
        // Where they end that are not ipvsadm's.
        if named && others.is_empty() && word == "--" {
            others.extend(words.cloned());
            break;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let directory: &mut PathBuf = match name {
            "--pin-dir" => &mut place.pin_dir,
            "--runtime-dir" => &mut place.runtime_dir,
            _ => {
                others.push(word.clone());
                continue;
            }
        };
        named = true;
        let value = value.or_else(|| words.next().cloned()).filter(|value| !value.is_empty());
        *directory = value.ok_or_else(|| format!("xlvs: {name} wants a directory"))?.into();
    }
    Ok((place, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn directories_may_stand_anywhere() {
        for line in [
            "--pin-dir /p --runtime-dir /r -L -n",
            "-L --pin-dir /p -n --runtime-dir=/r",
            "-L -n --runtime-dir /r --pin-dir=/p",
            "--pin-dir /p --runtime-dir /r -- -L -n",
        ] {
            let (place, others) = of(&words(line)).unwrap();
            let Place { pin_dir, runtime_dir } = place;
            assert_eq!(
                (pin_dir.to_str(), runtime_dir.to_str()),
                (Some("/p"), Some("/r")),
                "{line}"
            );
            assert_eq!(others, ["-L", "-n"], "{line}");
        }
        for line in ["-L --pin-dir", "-L --runtime-dir="] {
            assert!(of(&words(line)).unwrap_err().ends_with("wants a directory"), "{line}");
        }
    }
}
