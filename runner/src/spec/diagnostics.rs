//! Mistakes, each at its place in the user's file.

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text that mistakes stand in: an experiment file, or what stands for one (an environment variable, a `--set`).
#[derive(Debug)]
pub(crate) struct Source {
    /// How the user calls it.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Stable snake_case name.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What stands beside the underlined piece: expected and found.
    pub label: String,
    /// What to do.
    pub hint: Option<String>,
    source: Arc<Source>,
    span: Range<usize>,
}

impl Diagnostic {
    pub(crate) fn new(
        source: &Arc<Source>,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let span = trimmed(&source.text, span);
        Self {
            code,
            message: message.into(),
            label: String::new(),
            hint: None,
            source: source.clone(),
            span,
        }
    }

    #[must_use]
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Name of the file, line and column (both from 1; columns count characters).
    pub fn place(&self) -> (&str, usize, usize) {
        let before = &self.source.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (
            &self.source.name,
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

/// Cuts a span to its first line and to the text, so that a whole table is not underlined.
fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |mut i: usize| {
        i = i.min(text.len());
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let (start, end) = (floor(span.start), floor(span.end));
    let piece = &text[start..end.max(start)];
    start..start + piece.lines().next().unwrap_or_default().len()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// The mistake as miette draws it.
#[derive(Debug)]
struct Drawn<'a>(&'a Diagnostic, NamedSource<String>);

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.code))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0
            .hint
            .as_ref()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.1)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = SourceSpan::new(self.0.span.start.into(), self.0.span.len());
        let label = (!self.0.label.is_empty()).then(|| self.0.label.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(label, span))))
    }
}

/// A file with more mistakes than this is not an experiment.
const MOST_KEPT: usize = 1_000;
/// Mistakes that are shown to people; programs get them all.
const MOST_SHOWN: usize = 100;

/// All mistakes of one experiment, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// The mistakes.
    pub list: Vec<Diagnostic>,
    /// Sources, by name, that were not understood from a place on.
    lost: Vec<(String, usize)>,
}

impl Diagnostics {
    /// Adds a mistake, unless it is there (the variants of a matrix repeat what they share), there are very many, or it
    /// stands in what was not understood.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let lost = self
            .lost
            .iter()
            .any(|(name, from)| *name == diagnostic.source.name && *from <= diagnostic.span.start);
        if self.list.len() < MOST_KEPT && !lost && !self.has(&diagnostic) {
            self.list.push(diagnostic);
        }
    }

    /// Nothing that is found in this source from a place on means anything.
    pub(crate) fn lose(&mut self, source: &Source, from: usize) {
        self.lost.push((source.name.clone(), from));
    }

    /// Whether this very mistake is there.
    pub(crate) fn has(&self, wanted: &Diagnostic) -> bool {
        self.list.iter().any(|d| {
            d.span == wanted.span
                && d.code == wanted.code
                && d.message == wanted.message
                && d.source.name == wanted.source.name
        })
    }

    /// The mistakes in the order of the files, or `Ok` if there are none.
    pub(crate) fn finish(mut self) -> Result<(), Self> {
        self.list
            .sort_by(|a, b| (&a.source.name, a.span.start).cmp(&(&b.source.name, b.span.start)));
        if self.list.is_empty() { Ok(()) } else { Err(self) }
    }

    /// For people: each with the piece underlined.
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(110)
            .with_links(false);
        let mut out = String::new();
        for diagnostic in self.list.iter().take(MOST_SHOWN) {
            let text = NamedSource::new(&diagnostic.source.name, diagnostic.source.text.clone());
            handler
                .render_report(&mut out, &Drawn(diagnostic, text))
                .expect("writing to a string succeeds");
            out.push('\n');
        }
        let count = self.list.len();
        if count > MOST_SHOWN {
            out.push_str(&format!("and {} more\n", count - MOST_SHOWN));
        }
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        out.push_str(&format!("{count} {noun} found; nothing was run\n"));
        out
    }

    /// For programs.
    pub fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Row<'a> {
            file: &'a str,
            line: usize,
            column: usize,
            code: &'a str,
            message: &'a str,
            label: &'a str,
            hint: Option<&'a str>,
        }
        let rows = self.list.iter().map(|d| {
            let (file, line, column) = d.place();
            Row {
                file,
                line,
                column,
                code: d.code,
                message: &d.message,
                label: &d.label,
                hint: d.hint.as_deref(),
            }
        });
        serde_json::to_value(rows.collect::<Vec<_>>()).expect("plain data")
    }
}
