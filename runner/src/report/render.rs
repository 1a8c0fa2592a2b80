//! Templates, sandboxed: fuel, a recursion limit, strict undefined values, nothing to load.

use super::data::ReportError;
use crate::template_value::from_json;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

/// Names of the built-in templates.
pub const TEMPLATES: &[&str] = &["comparison"];

const SOURCES: [(&str, &str); 2] = [
    ("comparison", include_str!("../../../reports/comparison.md.j2")),
    ("sweep", include_str!("../../../reports/sweep.md.j2")),
];

/// Renders a template with a context.
pub(crate) fn render(name: &str, context: &Value) -> Result<String, ReportError> {
    let failed = |message: String| ReportError::Template {
        name: name.to_owned(),
        message,
    };
    let source = SOURCES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, source)| *source);
    let source =
        source.ok_or_else(|| failed(format!("there is none; there are {}", TEMPLATES.join(", "))))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(10_000_000));
    environment.set_recursion_limit(64);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.map_err(|error| failed(error.to_string()))?);
    environment.add_filter("cell", cell);
    environment
        .render_str(source, from_json(context))
        .map_err(|error| failed(format!("{error:#}")))
}

/// Text from the user as it may stand in a line or a table cell of Markdown.
fn cell(text: String) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_user_cannot_break_a_table() {
        assert_eq!(cell("a|b\nc<script>".into()), "a\\|b c&lt;script>");
        assert_eq!(cell("student[x]".into()), "student\\[x\\]");
    }

    #[test]
    fn an_unknown_template_is_named() {
        let error = render("none", &Value::Null).unwrap_err().to_string();
        assert!(error.contains("comparison"), "{error}");
    }
}
