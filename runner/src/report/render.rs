//! Templates, sandboxed: fuel, a recursion limit, a cap on what comes out, strict undefined values, nothing to load.

use super::data::ReportError;
use lyceum_components::template::from_json;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Names of the built-in templates.
pub const TEMPLATES: &[&str] = &["comparison"];

const SOURCES: [(&str, &str); 2] = [
    ("comparison", include_str!("../../../reports/comparison.md.j2")),
    ("sweep", include_str!("../../../reports/sweep.md.j2")),
];
/// The longest template of a user's own, in bytes.
const MOST_SOURCE: u64 = 1 << 20;
/// The longest report, in bytes.
const MOST_OUTPUT: usize = 64 << 20;

/// Whether a template's name is the path of a user's own.
pub fn is_own_template(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "j2")
}

/// Renders a template with a context.
pub(crate) fn render(name: &str, context: &Value) -> Result<String, ReportError> {
    let failed = |message: String| ReportError::Template {
        name: name.to_owned(),
        message,
    };
    let own = if is_own_template(name) {
        Some(read(name).map_err(|error| failed(error.to_string()))?)
    } else {
        None
    };
    let built_in = SOURCES.iter().find(|(known, _)| *known == name);
    let source = own.as_deref().or(built_in.map(|(_, source)| *source));
    let source =
        source.ok_or_else(|| failed(format!("there is none; there are {}", TEMPLATES.join(", "))))?;
    let mut environment = sandbox().map_err(|error| failed(error.to_string()))?;
    environment.add_filter("cell", cell);
    environment.add_filter("code", code);
    environment.add_filter("block", block);
    let told = |error: Error| failed(format!("{error:#}"));
    let template = environment.template_from_named_str(name, source).map_err(told)?;
    let mut out = Capped(Vec::new());
    template
        .render_captured_to(from_json(context), &mut out)
        .map_err(told)?;
    String::from_utf8(out.0).map_err(|error| failed(error.to_string()))
}

/// An environment in which a template can do no harm.
pub(super) fn sandbox<'a>() -> Result<Environment<'a>, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(10_000_000));
    environment.set_recursion_limit(64);
    // What is rendered is Markdown whatever the template is called: its own filters keep users' text from being more.
    environment.set_auto_escape_callback(|name| match name.rsplit('.').nth(1) {
        Some("html") => minijinja::AutoEscape::Html,
        _ => minijinja::AutoEscape::None,
    });
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()?;
    environment.set_syntax(syntax);
    Ok(environment)
}

fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MOST_SOURCE + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MOST_SOURCE {
        return Err(io::Error::other("longer than 1 MiB"));
    }
    Ok(text)
}

/// What a template writes, up to a cap.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_OUTPUT {
            return Err(io::Error::other("the report is longer than 64 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Text from the user as it may stand in a line or a table cell of Markdown.
fn cell(text: String) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A name as a code span, whatever it holds.
fn code(text: String) -> String {
    let text = text.replace(['\n', '\r'], " ");
    let fence = "`".repeat(longest_run(&text) + 1);
    let room = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{room}{text}{room}{fence}")
}

/// A whole text as a block of code in a language, whatever it holds.
fn block(text: String, language: String) -> String {
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", text.trim_end())
}

/// Length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_from_the_user_cannot_break_a_table() {
        assert_eq!(cell("a|b\nc<script>".into()), "a\\|b c&lt;script>");
        assert_eq!(cell("student[x]".into()), "student\\[x\\]");
        assert_eq!(cell("&lt; ~~$x$".into()), "&amp;lt; \\~\\~\\$x\\$");
    }

    #[test]
    fn code_holds_backticks() {
        assert_eq!(code("a.toml".into()), "`a.toml`");
        assert_eq!(code("a`b".into()), "``a`b``");
        assert_eq!(code("`".into()), "`` ` ``");
        assert_eq!(
            block("x = '````'\n".into(), "toml".into()),
            "`````toml\nx = '````'\n`````"
        );
        assert_eq!(block("x".into(), String::new()), "```\nx\n```");
    }

    #[test]
    fn an_unknown_template_is_named() {
        let error = render("none", &Value::Null).unwrap_err().to_string();
        assert!(error.contains("comparison"), "{error}");
    }

    #[test]
    fn a_users_own_template_can_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.md.j2");
        let name = file.to_str().unwrap();
        let ends = |source: &str| {
            std::fs::write(&file, source).unwrap();
            render(name, &json!({ "title": "a & <b>" })).map_err(|error| error.to_string())
        };
        assert_eq!(
            ends("{{ title }} {{ title|cell }}\n").unwrap(),
            "a & <b> a &amp; &lt;b>\n"
        );
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        for (source, why) in [
            ("{% include 'secret' %}", "template not found"),
            ("{% include '/etc/passwd' %}", "template not found"),
            (
                "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
                "fuel",
            ),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
            ("{{ nothing.at.all }}", "undefined"),
            ("{% if %}", "syntax"),
        ] {
            let error = ends(source).unwrap_err();
            assert!(error.contains(why), "{source}: {error}");
        }
        let long = format!("{{% for i in range(9000) %}}{}{{% endfor %}}", "x".repeat(10_000));
        assert!(ends(&long).unwrap_err().contains("write"));
        assert!(ends(&"x".repeat(1 << 21)).unwrap_err().contains("1 MiB"));
    }
}
