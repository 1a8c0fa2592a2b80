//! Names of repositories and of commits.

use std::fmt;
use std::str::FromStr;

/// Longest part of a name.
const LONGEST: usize = 96;

/// The name of a repository, `OWNER/NAME`, or `NAME` alone as old ones have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository(String);

impl FromStr for Repository {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() <= 2 && parts.iter().all(|part| is_name(part)) {
            return Ok(Self(text.to_owned()));
        }
        Err(
            "expected `OWNER/NAME` of letters, digits, `-`, `_` and `.`, as in `openai-community/gpt2`"
                .to_owned(),
        )
    }
}

fn is_name(part: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: char| matches!(c, '-' | '.');
    (1..=LONGEST).contains(&part.len())
        && part.chars().all(known)
        && !part.starts_with(ends)
        && !part.ends_with(ends)
        && !part.contains("..")
        && !part.contains("--")
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A commit, by all of its digits: what a branch or a tag means can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(String);

impl FromStr for Revision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 40 && text.bytes().all(digit) {
            return Ok(Self(text.to_owned()));
        }
        Err("expected the 40 hex digits of a commit: what a branch or a tag means can change. The hub lists a \
             model's commits beside its files, under \"History\""
            .to_owned())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_no_paths() {
        for name in ["gpt2", "openai-community/gpt2", "a/b_c.d-1"] {
            assert_eq!(name.parse::<Repository>().expect("a name").to_string(), name);
        }
        let long = "a".repeat(LONGEST + 1);
        for name in [
            "", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/b..c", "a/.b", "a/b.", "a b/c", "a/b?c",
            "a/b%2f", "a\\b", "ä/b", "a/b--c", &long,
        ] {
            name.parse::<Repository>().expect_err(name);
        }
    }

    #[test]
    fn only_a_whole_commit_is_a_revision() {
        let commit = "607a30d783dfa663caf39e06633721c8d4cfcd7e";
        assert_eq!(commit.parse::<Revision>().expect("a commit").to_string(), commit);
        let upper = commit.to_uppercase();
        for text in [
            "main",
            "",
            &commit[1..],
            &upper,
            "refs/pr/1",
            "z07a30d783dfa663caf39e06633721c8d4cfcd7e",
        ] {
            text.parse::<Revision>().expect_err(text);
        }
    }
}
